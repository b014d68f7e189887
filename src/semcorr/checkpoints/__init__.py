"""What every frozen network needs: names, devices, the hub, weight files and their fingerprint, views of it."""

"""Regions: masks of one or a few images, found in others. What methods that find them share.

A method says how examples are described and what a target's scores are (:mod:`semcorr.matchers.features.regions`); what
a person gives (:mod:`.examples`), and how scores become a label map (:mod:`.refine`), are the same for all.
"""

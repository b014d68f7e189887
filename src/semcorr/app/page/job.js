// A run on the server: its progress, until it ended.
"use strict";
import { make, shape } from "./nodes.js";
import { ask } from "./server.js";

const EVERY = 400, WIDTH = 220, HEIGHT = 56;

// Calls `show` with each state, and returns the last one; null where there is no run.
export async function follow(show) {
  let failures = 0;
  for (;;) {
    try {
      const { job } = await ask("api/job");
      failures = 0;
      if (job) show(job);
      if (!job || !["waiting", "running"].includes(job.state)) return job;
    } catch (error) {
      if (error.status || (failures += 1) > 20) throw error;
    }
    await new Promise(resolve => setTimeout(resolve, EVERY));
  }
}

function timeLeft(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 3600 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function progressText(job) {
  if (job.state === "waiting") return job.ahead ? `Waiting: ${job.ahead === 1 ? "1 job is" : `${job.ahead} jobs are`} before yours.` : "Waiting for a moment …";
  if (!job.total) return "Loading the model …";
  const parts = [`${job.stage}, ${job.done} of ${job.total}`];
  if (job.seconds_left !== null) parts.push(`about ${timeLeft(job.seconds_left)} left`);
  if (job.losses.length) parts.push(`loss ${Number(job.losses.at(-1)[1].toPrecision(3))}`);
  return parts.join(" · ");
}

// The loss as a curve, on a logarithmic scale.
function curve(losses) {
  const known = losses.filter(([, loss]) => loss > 0);
  if (known.length < 2) return null;
  const logs = known.map(([, loss]) => Math.log(loss)), high = Math.max(...logs), low = Math.min(...logs);
  const first = known[0][0], span = Math.max(known.at(-1)[0] - first, 1), stride = Math.ceil(known.length / 200);
  const vertices = known.map(([step], index) => [4 + (step - first) / span * (WIDTH - 8), 14 + (high - logs[index]) / Math.max(high - low, 1e-9) * (HEIGHT - 18)]);
  return shape("svg", { class: "curve", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": "Loss while optimizing" },
    shape("text", { x: 4, y: 11 }, "loss (log scale)"),
    shape("polyline", { points: vertices.filter((_, index) => index % stride === 0).map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ") }));
}

// Shows the progress of a run in an element.
export function progress(element) {
  const text = make("p"), bar = make("progress", { max: 1, "aria-label": "Progress" }), chart = make("div");
  element.replaceChildren(make("div", { class: "text" }, text, bar), chart);
  return job => {
    element.hidden = false;
    text.textContent = progressText(job);
    if (job.state === "running" && job.total) bar.value = Math.min(job.done / job.total, 1);
    else bar.removeAttribute("value");
    const drawn = curve(job.losses);
    chart.replaceChildren(...(drawn ? [drawn] : []));
  };
}

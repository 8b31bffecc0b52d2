// The curve of averages with its gaps, and the counts below it; both share the days and the pointer.
"use strict";

const dollars = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD" });
const wholeDollars = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD", maximumFractionDigits: 0 });
const whole = new Intl.NumberFormat("en-US");
const dayName = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });

const DAYS = [1, 2, 3, 7, 14, 28, 91, 182, 365, 730].map((days) => days * 86400); // between two marks
const seconds = (day) => Date.parse(`${day}T00:00:00Z`) / 1000;

// `read` is called with the index of the day under the pointer, or null.
function drawRates(priceHost, countHost, rates, read) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const days = rates.map((rate) => seconds(rate.day));
  const prices = rates.map((rate) => rate.price);
  const counts = rates.map((rate) => rate.count ?? 0);
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--grid"), width: 1 }, ticks: { stroke: colour("--grid") }, font: "12px system-ui, sans-serif" };
  const dates = [
    [31536000, "{YYYY}", null, null, null, null, null, null, 1],
    [2419200, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
    [86400, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  ];
  const few = rates.length <= 62;
  const alone = prices.flatMap((price, at) => (price !== null && (prices[at - 1] ?? null) === null && (prices[at + 1] ?? null) === null ? [at] : []));
  const shared = {
    tzDate: (stamp) => uPlot.tzDate(new Date(stamp * 1000), "Etc/UTC"),
    legend: { show: false },
    padding: [8, 26, 0, 0],
    cursor: { sync: { key: "rates" }, y: false, drag: { x: true, y: false } },
    scales: { x: { time: true, range: (_, low, high) => [low - 43200, high + 43200] } },
  };
  const size = (host) => ({ width: host.clientWidth, height: host.clientHeight });
  const price = new uPlot({
    ...shared, ...size(priceHost),
    scales: { ...shared.scales, y: { range: (_, low, high) => span(low, high) } },
    axes: [{ ...axis, values: () => [], incrs: DAYS, size: 4, ticks: { show: false } }, { ...axis, size: 62, values: (_, ticks) => ticks.map((tick) => wholeDollars.format(tick)) }],
    series: [{}, {
      label: "Average", stroke: colour("--accent"), width: 2, spanGaps: false,
      points: { show: true, size: 5, fill: colour("--accent"), filter: few ? null : () => alone },
    }],
    hooks: { setCursor: [({ cursor }) => read(cursor.idx ?? null)] },
  }, [days, prices], priceHost);
  const count = new uPlot({
    ...shared, ...size(countHost),
    scales: { ...shared.scales, y: { range: (_, __, high) => [0, Math.max(3, high * 1.1)] } },
    axes: [{ ...axis, values: dates, incrs: DAYS }, { ...axis, size: 62, space: 18, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 50000, 100000, 1000000] }],
    series: [{}, {
      label: "Prices", fill: colour("--bars"), stroke: colour("--bars"), width: 0, points: { show: false },
      paths: uPlot.paths.bars({ size: [0.8, 24], align: 0 }),
    }],
  }, [days, counts], countHost);
  const both = [[price, priceHost], [count, countHost]];
  const watcher = new ResizeObserver(() => both.forEach(([plot, host]) => plot.setSize(size(host))));
  watcher.observe(priceHost);
  // A zoom in one is a zoom in both.
  let zooming = false;
  both.forEach(([plot], at) => (plot.hooks.setScale = [(_, key) => {
    if (key !== "x" || zooming) return;
    zooming = true;
    const { min, max } = plot.scales.x;
    both[1 - at][0].setScale("x", { min: min + 43200, max: max - 43200 });
    zooming = false;
  }]));
  return {
    // Moves the pointer to the day of that index.
    point(index) {
      price.setCursor({ left: price.valToPos(days[index], "x"), top: 10 });
    },
    destroy() {
      watcher.disconnect();
      both.forEach(([plot]) => plot.destroy());
    },
  };
}

function span(low, high) {
  if (low === null || high === null) return [0, 100];
  const room = Math.max((high - low) * 0.12, high * 0.02, 1);
  return [Math.max(0, low - room), high + room];
}

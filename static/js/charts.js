// The live curves of a run: asks for metrics behind the last position, draws, and stops when the run has ended.
// Colours are tokens of the stylesheet, so light and dark follow the system. Each plot's label says its last values.
(() => {
  const PAUSE = 2000;
  const place = document.getElementById("charts");
  const charts = JSON.parse(document.getElementById("chart-list").textContent);
  const plots = [...place.querySelectorAll(".plot")];
  const values = new Map(); // metric → Map(step → value); a step done again after a resume counts as it was last
  let position = -1;

  const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const short = (value) => Number(value.toPrecision(4)).toString();

  function keep(points) {
    for (const [step, found] of points) {
      for (const [metric, value] of Object.entries(found)) {
        if (value === null) continue;
        if (!values.has(metric)) values.set(metric, new Map());
        values.get(metric).set(step, value);
      }
    }
  }

  function line(series) {
    const points = [...(values.get(series.metric) ?? [])].sort((a, b) => a[0] - b[0]);
    return {
      x: points.map(([step]) => step),
      y: points.map(([, value]) => value),
      name: series.words,
      mode: points.length < 3 ? "lines+markers" : "lines",
      yaxis: series.right ? "y2" : "y",
      line: { color: token(series.color), width: 2, dash: series.dashed ? "dash" : "solid" },
      hovertemplate: `step %{x}: %{y:.4g}<extra>${series.words}</extra>`,
    };
  }

  function layout(chart, last) {
    const axis = { gridcolor: token("line"), zeroline: false, automargin: true, fixedrange: true };
    return {
      height: 190,
      margin: { l: 40, r: chart.series.some((series) => series.right) ? 40 : 8, t: 6, b: 28 },
      paper_bgcolor: "transparent",
      plot_bgcolor: "transparent",
      font: { family: token("sans"), size: 11, color: token("ink-3") },
      showlegend: chart.series.length > 1,
      legend: { orientation: "h", x: 0, y: 1.18 },
      hovermode: "x unified",
      hoverlabel: { bgcolor: token("card"), bordercolor: token("line-2"), font: { color: token("ink") } },
      xaxis: { ...axis, rangemode: "tozero", tickformat: "d", ...(last < 6 ? { dtick: 1 } : {}) },
      yaxis: { ...axis, ...(chart.share ? { range: [0, 1.02] } : {}) },
      yaxis2: { ...axis, overlaying: "y", side: "right", showgrid: false },
    };
  }

  // Nothing to draw yet: no axes with made-up numbers, but a word.
  function empty() {
    const hidden = { visible: false };
    const words = { text: "no value yet", showarrow: false, font: { size: 13, color: token("ink-3") } };
    return { xaxis: hidden, yaxis: hidden, annotations: [{ x: 0.5, y: 0.5, xref: "paper", yref: "paper", ...words }] };
  }

  function inWords(chart) {
    const parts = chart.series.map(line).filter((drawn) => drawn.x.length).map((drawn) => {
      const last = drawn.x.length - 1;
      const from = last ? `, from ${short(drawn.y[0])}` : "";
      return `${drawn.name} ${short(drawn.y[last])} at step ${drawn.x[last]}${from}`;
    });
    return `${chart.title}: ${parts.join("; ") || "no value yet"}`;
  }

  function draw() {
    charts.forEach((chart, index) => {
      const traces = chart.series.map(line).filter((drawn) => drawn.x.length);
      const last = Math.max(0, ...traces.map((drawn) => drawn.x[drawn.x.length - 1]));
      const shape = traces.length ? layout(chart, last) : { ...layout(chart, last), ...empty() };
      Plotly.react(plots[index], traces, shape, { displayModeBar: false, responsive: true });
      plots[index].setAttribute("aria-label", inWords(chart));
    });
  }

  async function poll() {
    try {
      const answer = await fetch(`${place.dataset.metrics}?after=${position}`, { credentials: "same-origin" });
      if (answer.status === 404 || answer.redirected) return; // no longer ours to see
      if (!answer.ok) throw new Error(String(answer.status));
      const news = await answer.json();
      keep(news.points);
      position = news.position;
      if (news.points.length) draw();
      if (news.more) return poll();
      if (news.ended) return;
    } catch {
      // The server restarts, or the network is away: the next look may reach it.
    }
    setTimeout(whenSeen, PAUSE);
  }

  function whenSeen() {
    if (document.visibilityState === "visible") return poll();
    document.addEventListener("visibilitychange", whenSeen, { once: true });
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
  poll();
})();

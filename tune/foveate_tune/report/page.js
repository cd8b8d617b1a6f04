"use strict";

// Nothing that sends a chart anywhere: plotly.js would offer it by itself.
const CONFIG = {
  responsive: true,
  displaylogo: false,
  showSendToCloud: false,
  // On a narrow screen it would lie on the legend.
  displayModeBar: window.matchMedia("(min-width: 600px)").matches ? "hover" : false,
  modeBarButtons: [["toImage", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
};

// Colours of text and lines are those of the page, light or dark.
function themed(layout) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = {
    gridcolor: colour("--line"), linecolor: colour("--line"), zerolinecolor: colour("--line"),
    tickcolor: colour("--line"), title: { standoff: 12 },
  };
  const own = {
    paper_bgcolor: colour("--page"), plot_bgcolor: colour("--page"),
    xaxis: axis, yaxis: axis,
    annotationdefaults: { bgcolor: colour("--page"), font: { color: colour("--text") } },
    hoverlabel: { bgcolor: colour("--raised"), bordercolor: colour("--line"), font: { color: colour("--text") } },
  };
  const base = (layout.template && layout.template.layout) || {};
  const font = { ...base.font, color: colour("--text") };
  return { ...layout, template: { layout: { ...base, ...own, font } } };
}

function draw() {
  for (const plot of document.querySelectorAll(".plot")) {
    const source = plot.closest("section").querySelector('script[type="application/json"]');
    const { data, layout } = JSON.parse(source.textContent);
    Plotly.react(plot, data, themed(layout), CONFIG);
  }
}

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const value = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    return cell.textContent === "" ? null : cell.textContent;
  };
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const turn = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", turn === 1 ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => [value(row, column), row]);
      // Empty cells stay last either way.
      rows.sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        return turn * (a < b ? -1 : a > b ? 1 : 0);
      });
      body.append(...rows.map(([, row]) => row));
    });
  });
}

document.querySelectorAll("table").forEach(sortable);
if (window.Plotly) {
  draw();
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

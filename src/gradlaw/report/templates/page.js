"use strict";
// Draws the panels of the page with Observable Plot, and makes tables sort and filter. Loads nothing; names are text.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SYMBOLS = {circle: "circle", times: "times", square: "square", triangle: "triangle", diamond: "diamond", plus: "plus"};
  const SMALL = 640, DECADES = 100, HEAT_FROM = 0.5;
  const colourOf = (layer) => `var(--q-${layer.colour.replaceAll(" ", "-")})`;
  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };

  // ---- numbers and axes

  const superscript = (n) => String(n).replace(/[-0-9]/g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]);
  const short = (v) => Math.abs(v) >= 1e3 && Math.abs(v) < 1e7 ? d3.format(",")(v) : d3.format(".3~g")(v);
  const written = (v) => Number.isInteger(v) && Math.abs(v) < 1e7 ? d3.format(",")(v) : Math.abs(v) >= 1e-3 && Math.abs(v) < 1e5 ? d3.format(".4~g")(v) : d3.format(".3~e")(v);

  function extent(values, scale) {
    const kept = values.filter((v) => v !== null && Number.isFinite(v) && (scale !== "log" || v > 0));
    if (!kept.length) return scale === "log" ? [1, 10] : [0, 1];
    let [low, high] = d3.extent(kept);
    if (low === high) [low, high] = scale === "log" ? [low / 2, high * 2] : [low - 0.5, high + 0.5];
    if (scale === "log") {
      const room = Math.pow(high / low, 0.03);
      return [low / room, high * room];
    }
    const room = 0.04 * (high - low);
    return [low === 0 ? 0 : low - room, high + room];
  }

  function domains(panel) {
    const xs = [], ys = [];
    for (const layer of panel.layers) {
      if (layer.kind === "bars") { xs.push(...layer.left, ...layer.right); ys.push(0, ...layer.y); }
      else if (layer.kind === "stack") xs.push(...layer.start, ...layer.stop);
      else if (layer.kind === "band") { xs.push(...layer.x); ys.push(...layer.low, ...layer.high); }
      else { xs.push(...layer.x); ys.push(...layer.y); }
    }
    for (const mark of panel.marks) { if (mark.x !== null) xs.push(mark.x); if (mark.y !== null) ys.push(mark.y); }
    const x = extent(xs, panel.x_scale), y = extent(ys, panel.y_scale);
    if (panel.lowest !== null) y[0] = Math.max(y[0], panel.lowest);
    if (panel.highest !== null) y[1] = Math.min(y[1], panel.highest);
    if (panel.names.length) x.splice(0, 2, 0, 1);
    return {x, y};
  }

  function axis(scale, domain, label) {
    if (scale !== "log") return {type: "linear", domain, label, grid: true, ticks: 6};
    const [low, high] = domain;
    if (high / low < DECADES) return {type: "log", domain, label, grid: true, ticks: 5, tickFormat: short};
    const decades = d3.range(Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9) + 1);
    const every = Math.ceil(decades.length / 8);
    const ticks = decades.filter((_, i) => i % every === 0).map((d) => Math.pow(10, d));
    return {type: "log", domain, label, grid: true, ticks, tickFormat: (v) => "10" + superscript(Math.round(Math.log10(v)))};
  }

  // ---- marks of Plot

  const rows = (layer) => layer.x.map((x, i) => ({x, y: layer.y[i], i})).filter((row) => row.y !== null);

  function marksOf(layer, mini) {
    const colour = colourOf(layer);
    if (layer.kind === "points") {
      const dots = Plot.dot(rows(layer), {x: "x", y: "y", stroke: colour, symbol: SYMBOLS[layer.symbol], r: mini ? 1.2 : 2.6,
                                          strokeWidth: mini ? 0.8 : 1.2, clip: true});
      return layer.joined ? [Plot.line(rows(layer), {x: "x", y: "y", stroke: colour, clip: true}), dots] : [dots];
    }
    if (layer.kind === "line") return [Plot.line(rows(layer), {x: "x", y: "y", stroke: colour, clip: true,
      strokeWidth: mini ? 1 : layer.width, strokeDasharray: layer.dashed ? "5 3" : undefined})];
    if (layer.kind === "band") return [Plot.areaY(layer.x.map((x, i) => ({x, low: layer.low[i], high: layer.high[i]})),
      {x: "x", y1: "low", y2: "high", fill: colour, fillOpacity: 0.22, clip: true})];
    if (layer.kind === "bars") return [Plot.rectY(layer.left.map((left, i) => ({left, right: layer.right[i], y: layer.y[i]})),
      {x1: "left", x2: "right", y1: 0, y2: "y", fill: colour, fillOpacity: 0.55, inset: 0, clip: true})];
    return [Plot.barX(layer.names.map((name, i) => ({name, start: layer.start[i], stop: layer.stop[i]})),
      {x1: "start", x2: "stop", y: "name", fill: colour, inset: 0.5})];
  }

  function lines(panel, mini, domain) {
    // Where in the panel a mark stands, from 0 to 1: labels of those far right stand left of their line.
    const share = (v, [low, high], scale) => scale === "log" ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low);
    return panel.marks.flatMap((mark, i) => {
      const style = {stroke: "var(--q-mark)", strokeDasharray: i % 2 ? "6 3 1 3" : "2 3"};
      const rule = mark.x !== null ? Plot.ruleX([mark.x], style) : Plot.ruleY([mark.y], style);
      if (mini) return [rule];
      const text = mark.x !== null
        ? Plot.text([mark], {x: "x", text: "label", frameAnchor: "top", dy: 2 + 13 * i, lineAnchor: "top",
          ...(share(mark.x, domain.x, panel.x_scale) > 0.75 ? {dx: -4, textAnchor: "end"} : {dx: 4, textAnchor: "start"})})
        : Plot.text([mark], {y: "y", text: "label", frameAnchor: "right", dy: -6, textAnchor: "end"});
      return [rule, text];
    });
  }

  function hovered(panel, hidden) {
    const found = [];
    panel.layers.forEach((layer, place) => {
      if (hidden.has(place) || layer.dashed) return;
      if (layer.kind === "points" || layer.kind === "line") {
        for (const row of rows(layer)) {
          const extra = layer.hover && layer.hover.length ? "\n" + layer.hover[row.i] : "";
          found.push({x: row.x, y: row.y, said: `${layer.label}\n${panel.x_label} ${written(row.x)}\n${panel.y_label} ${written(row.y)}${extra}`});
        }
      } else if (layer.kind === "bars") {
        layer.y.forEach((y, i) => found.push({x: (layer.left[i] + layer.right[i]) / 2, y,
          said: `${layer.label}\n${written(layer.left[i])} to ${written(layer.right[i])}\n${d3.format(".1%")(y)} of series`}));
      } else if (layer.kind === "stack") {
        layer.names.forEach((name, i) => found.push({x: (layer.start[i] + layer.stop[i]) / 2, y: name,
          said: `${name}\n${layer.label}: ${d3.format(".1%")(layer.stop[i] - layer.start[i])}`}));
      }
    });
    return found;
  }

  // Plot labels its groups for assistive technology; inside of an image, which has a label of its own, none may have one.
  function unlabelled(svg) {
    for (const node of svg.querySelectorAll("[aria-label], [aria-description]")) {
      node.dataset.mark = node.getAttribute("aria-label");
      node.removeAttribute("aria-label");
      node.removeAttribute("aria-description");
    }
    return svg;
  }

  const cut = (name, most) => name.length > most ? name.slice(0, most - 1) + "…" : name;

  function plot(panel, {width, height, domain, hidden, mini}) {
    const lying = panel.names.length > 0;
    const shown = panel.layers.flatMap((layer, i) => hidden.has(i) ? [] : marksOf(layer, mini));
    const options = {width, height, style: {background: "transparent", overflow: "visible"}};
    if (mini) return unlabelled(Plot.plot({...options, margin: 3, x: {axis: null, type: panel.x_scale, domain: domain.x},
      y: lying ? {axis: null, domain: panel.names} : {axis: null, type: panel.y_scale, domain: domain.y},
      marks: [Plot.frame({stroke: "var(--line)"}), ...shown, ...lines(panel, true, domain)]}));
    const small = width < 420, most = small ? 14 : 26;
    const tips = hovered(panel, hidden);
    const pointer = lying ? Plot.pointer : panel.layers.some((l) => l.kind === "bars") ? Plot.pointerX : Plot.pointer;
    const y = lying ? {domain: panel.names, label: null, tickFormat: (name) => cut(name, most)} : axis(panel.y_scale, domain.y, panel.y_label);
    return unlabelled(Plot.plot({...options, x: axis(panel.x_scale, domain.x, panel.x_label), y,
      marginLeft: lying ? 12 + 6.6 * Math.min(most, d3.max(panel.names, (n) => n.length)) : 52, marginTop: 22, marginBottom: 36, marginRight: 14,
      marks: [Plot.frame({stroke: "var(--line)"}), ...shown, ...lines(panel, false, domain),
        Plot.tip(tips, pointer({x: "x", y: "y", title: "said", maxRadius: 40, fill: "var(--paper)", stroke: "var(--soft)"}))]}));
  }

  // ---- one panel: heading, legend, buttons, zoom

  function swatch(layer) {
    const colour = colourOf(layer);
    const svg = d3.create("svg").attr("width", 18).attr("height", 10).attr("aria-hidden", "true");
    if (layer.kind === "line") svg.append("line").attr("x2", 18).attr("y1", 5).attr("y2", 5).style("stroke", colour).attr("stroke-width", 2).attr("stroke-dasharray", layer.dashed ? "5 3" : null);
    else if (layer.kind === "points") svg.append("path").attr("transform", "translate(9,5)").attr("d", d3.symbol(d3[{circle: "symbolCircle", times: "symbolTimes", square: "symbolSquare2", triangle: "symbolTriangle2", diamond: "symbolDiamond2", plus: "symbolPlus"}[layer.symbol]], 30)()).style("stroke", colour).attr("stroke-width", 1.4).attr("fill", "none");
    else svg.append("rect").attr("x", 3).attr("width", 12).attr("height", 10).style("fill", colour).attr("fill-opacity", layer.kind === "stack" ? 1 : 0.55);
    return svg.node();
  }

  function makePanel(root) {
    const panel = data.panels[root.dataset.panel];
    const hidden = new Set(), whole = domains(panel), lying = panel.names.length > 0;
    let zoomed = null, width = 0;
    const place = element("div", {className: "plot"});
    const button = (text, label, act) => {
      const made = element("button", {type: "button", textContent: text, title: label});
      made.setAttribute("aria-label", `${label}: ${panel.title}`);
      made.addEventListener("click", act);
      return made;
    };
    const buttons = element("div", {className: "buttons"});
    if (!lying) buttons.append(button("+", "Zoom in", () => zoom(0.5)), button("−", "Zoom out", () => zoom(2)), button("1:1", "Show all", () => { zoomed = null; draw(); }));
    buttons.append(button("SVG", "Save as SVG", save), button("CSV", "Save the numbers as CSV", table));
    root.append(element("div", {className: "head"}, element("h4", {textContent: panel.title}), buttons));
    const legend = element("div", {className: "legend"});
    panel.layers.forEach((layer, i) => {
      if (layer.kind === "band") return;
      const made = element("button", {type: "button"}, swatch(layer), layer.label);
      made.setAttribute("aria-pressed", "true");
      made.addEventListener("click", () => {
        const bands = panel.layers.flatMap((other, j) => other.kind === "band" && other.label === layer.label ? [j] : []);
        for (const j of [i, ...bands]) hidden.has(j) ? hidden.delete(j) : hidden.add(j);
        made.setAttribute("aria-pressed", String(!hidden.has(i)));
        draw();
      });
      legend.append(made);
    });
    root.append(legend, place);
    if (panel.thinned) root.append(element("p", {className: "thinned", textContent: panel.thinned}));
    new ResizeObserver(() => { if (place.clientWidth && place.clientWidth !== width) draw(); }).observe(place);

    function draw() {
      width = place.clientWidth;
      if (!width) return;
      const height = lying ? 60 + 20 * panel.names.length : Math.max(240, Math.min(340, 0.62 * width));
      const made = plot(panel, {width, height, domain: zoomed || whole, hidden, mini: false});
      made.setAttribute("role", "img");
      made.setAttribute("aria-label", `${panel.title}. ${root.dataset.alt}.`);
      place.replaceChildren(made);
      if (!lying && matchMedia("(pointer: fine)").matches) brush(made, height);
    }

    function brush(svg, height) {
      const x = svg.scale("x"), y = svg.scale("y");
      const area = d3.brush().extent([[52, 22], [width - 14, height - 36]]).on("end", (event) => {
        if (!event.selection) return;
        const [[left, top], [right, bottom]] = event.selection;
        if (right - left < 6 || bottom - top < 6) return;
        zoomed = {x: [x.invert(left), x.invert(right)], y: [y.invert(bottom), y.invert(top)]};
        draw();
      });
      d3.select(svg).append("g").call(area);
      svg.addEventListener("dblclick", () => { zoomed = null; draw(); });
    }

    function zoom(factor) {
      const now = zoomed || whole;
      const scaled = ([low, high], scale) => {
        const [a, b] = scale === "log" ? [Math.log(low), Math.log(high)] : [low, high];
        const middle = (a + b) / 2, half = (b - a) / 2 * factor;
        return scale === "log" ? [Math.exp(middle - half), Math.exp(middle + half)] : [middle - half, middle + half];
      };
      zoomed = {x: scaled(now.x, panel.x_scale), y: scaled(now.y, panel.y_scale)};
      draw();
    }

    function save() {
      const svg = place.querySelector("svg");
      const copy = svg.cloneNode(true);
      copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
      // What the style sheet of the page gives is written into the file.
      const shown = [svg, ...svg.querySelectorAll("*")], kept = [copy, ...copy.querySelectorAll("*")];
      shown.forEach((node, i) => {
        const style = getComputedStyle(node);
        for (const name of ["fill", "stroke"]) if (node.hasAttribute(name) || node.style[name] || node === svg) kept[i].setAttribute(name, style[name]);
        kept[i].style.removeProperty("fill");
        kept[i].style.removeProperty("stroke");
      });
      copy.setAttribute("font-family", "sans-serif");
      copy.setAttribute("fill", getComputedStyle(svg).color);
      copy.querySelectorAll(".selection, .overlay, .handle").forEach((node) => node.remove());
      const names = d3.select(copy).append("g").attr("font-size", 11);
      panel.layers.filter((layer, i) => layer.kind !== "band" && !hidden.has(i)).forEach((layer, i) => {
        const colour = getComputedStyle(document.documentElement).getPropertyValue(`--q-${layer.colour.replaceAll(" ", "-")}`);
        const row = names.append("g").attr("transform", `translate(52,${+copy.getAttribute("height") + 14 * (i + 1)})`);
        row.append("rect").attr("y", -8).attr("width", 10).attr("height", 8).attr("fill", colour);
        row.append("text").attr("x", 15).text(layer.label);
        row.raise();
      });
      const height = +copy.getAttribute("height") + 14 * (panel.layers.length + 1);
      copy.setAttribute("height", height);
      copy.setAttribute("viewBox", `0 0 ${copy.getAttribute("width")} ${height}`);
      download(`${panel.name}.svg`, "image/svg+xml", new XMLSerializer().serializeToString(copy));
    }

    function table() {
      const cell = (v) => /[",\n]/.test(String(v)) ? `"${String(v).replaceAll('"', '""')}"` : String(v ?? "");
      const out = [["series", "x", "y", "y2"]];
      for (const layer of panel.layers) {
        if (layer.kind === "bars") layer.y.forEach((y, i) => out.push([layer.label, layer.left[i], y, layer.right[i]]));
        else if (layer.kind === "stack") layer.names.forEach((name, i) => out.push([layer.label, name, layer.start[i], layer.stop[i]]));
        else if (layer.kind === "band") layer.x.forEach((x, i) => out.push([layer.label, x, layer.low[i], layer.high[i]]));
        else layer.x.forEach((x, i) => out.push([layer.label, x, layer.y[i], layer.hover && layer.hover[i] || ""]));
      }
      download(`${panel.name}.csv`, "text/csv", out.map((row) => row.map(cell).join(",")).join("\n") + "\n");
    }
    return draw;
  }

  function download(name, type, text) {
    const link = element("a", {download: name, href: URL.createObjectURL(new Blob([text], {type}))});
    link.click();
    URL.revokeObjectURL(link.href);
  }

  const draws = new Map([...document.querySelectorAll(".panel")].map((root) => [root, makePanel(root)]));
  const drawn = new Set();
  const drawOnce = (root) => { if (!drawn.has(root) && root.clientWidth) { drawn.add(root); draws.get(root)(); } };
  const seen = new IntersectionObserver((entries) => entries.forEach((entry) => { if (entry.isIntersecting) drawOnce(entry.target); }), {rootMargin: "600px"});
  draws.forEach((_, root) => seen.observe(root));

  function drawMini(root) {
    const panel = data.panels[root.dataset.panel];
    const made = plot(panel, {width: 128, height: 84, domain: domains(panel), hidden: new Set(), mini: true});
    made.setAttribute("role", "img");
    made.setAttribute("aria-label", `In miniature: ${panel.title}`);
    root.replaceChildren(made);
  }
  const minis = [...document.querySelectorAll(".mini")].filter((root) => data.panels[root.dataset.panel]);
  requestAnimationFrame(() => minis.forEach(drawMini)); // after the text, which is there to be read

  // ---- tables

  function value(text) {
    const plain = text.trim().replaceAll(",", "");
    if (/^infinite/.test(plain)) return Infinity;
    const found = plain.match(/^([<>]?)\s*([-+]?[\d.]+(?:e[-+]?\d+)?)/i);
    return found ? +found[2] + (found[1] === "<" ? -1e-9 : found[1] === ">" ? 1e-9 : 0) : null;
  }

  function sortBy(table, column, header) {
    const descending = header.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("th[aria-sort]").forEach((th) => th.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const body = table.tBodies[0], sign = descending ? -1 : 1;
    const keyed = [...body.rows].map((row) => ({row, text: row.cells[column].textContent, number: value(row.cells[column].textContent)}));
    const numeric = keyed.some((k) => k.number !== null) && keyed.filter((k) => k.number === null).every((k) => /^(-|no verdict|refused|not above rounding)$/.test(k.text.trim()));
    keyed.sort((a, b) => {
      if (!numeric) return sign * a.text.localeCompare(b.text, undefined, {numeric: true});
      if (a.number === null || b.number === null) return (a.number === null) - (b.number === null); // what is missing stays last
      return sign * (a.number - b.number || 0);
    });
    body.append(...keyed.map((k) => k.row));
  }

  for (const table of document.querySelectorAll("table:not(.plain)")) {
    const body = table.tBodies[0];
    [...table.tHead.rows[0].cells].forEach((header, column) => {
      const button = element("button", {type: "button", textContent: header.textContent, title: "Sort"});
      if (header.dataset.term) button.dataset.term = header.dataset.term;
      button.addEventListener("click", () => sortBy(table, column, header));
      header.replaceChildren(button);
      const cells = [...body.rows].map((row) => row.cells[column]).filter(Boolean);
      const shares = cells.map((cell) => /^[<>]?[\d.]+%$/.test(cell.textContent.trim()) ? value(cell.textContent) / 100 : null);
      if (header.dataset.term !== "term-by-chance" && shares.filter((s) => s !== null).length > HEAT_FROM * cells.length) {
        cells.forEach((cell, i) => { if (shares[i] !== null) { cell.classList.add("heat"); cell.style.setProperty("--share", Math.min(1, Math.max(0, shares[i]))); } });
      }
    });
    if (body.rows.length < 6) continue;
    const count = element("span", {textContent: `${body.rows.length} rows`});
    count.setAttribute("role", "status");
    const input = element("input", {type: "search", placeholder: "Filter"});
    input.setAttribute("aria-label", `Filter: ${table.parentElement.getAttribute("aria-label")}`);
    input.addEventListener("input", () => {
      const wanted = input.value.toLowerCase();
      let left = 0;
      for (const row of body.rows) { row.hidden = !row.textContent.toLowerCase().includes(wanted); left += !row.hidden; }
      count.textContent = wanted ? `${left} of ${body.rows.length} rows` : `${body.rows.length} rows`;
    });
    table.parentElement.before(element("div", {className: "tools"}, input, count));
  }

  // ---- terms, theme, folding, copying

  const tip = document.getElementById("tip");
  const hide = () => { tip.hidden = true; document.querySelectorAll("[aria-describedby=tip]").forEach((n) => n.removeAttribute("aria-describedby")); };
  function explain(target) {
    tip.textContent = data.terms[target.dataset.term];
    tip.hidden = false;
    target.setAttribute("aria-describedby", "tip");
    const at = target.getBoundingClientRect();
    const left = Math.max(8, Math.min(at.left, document.documentElement.clientWidth - tip.offsetWidth - 8));
    const above = at.bottom + tip.offsetHeight + 8 > innerHeight && at.top > tip.offsetHeight + 8;
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${(above ? at.top - tip.offsetHeight - 6 : at.bottom + 6) + scrollY}px`;
  }
  for (const target of document.querySelectorAll("a.term, thead button[data-term]")) {
    for (const name of ["mouseenter", "focus"]) target.addEventListener(name, () => explain(target));
    for (const name of ["mouseleave", "blur"]) target.addEventListener(name, hide);
  }
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });

  document.getElementById("theme").addEventListener("change", (event) => {
    if (event.target.value) document.documentElement.dataset.theme = event.target.value;
    else delete document.documentElement.dataset.theme;
  });

  function reveal() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
    target.scrollIntoView();
  }
  addEventListener("hashchange", reveal);
  reveal();

  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", async () => {
      const from = button.dataset.copy === "record" ? button.nextElementSibling : button.previousElementSibling;
      const text = button.dataset.copy === "record" ? from.textContent : [...from.querySelectorAll("tr")].map((row) => [...row.cells].map((c) => c.textContent).join("\t")).join("\n");
      if (!navigator.clipboard) { // not everywhere for files: selected, it can be copied by hand
        getSelection().selectAllChildren(from);
        button.textContent = "Selected: copy it with the keyboard";
        return;
      }
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    });
  }

  const folded = [];
  addEventListener("beforeprint", () => {
    const closed = [...document.querySelectorAll("details:not([open]):not(.record)")];
    closed.forEach((node) => { node.open = true; });
    folded.push(...closed); // before a preview and once more before the print
    draws.forEach((_, root) => drawOnce(root));
  });
  addEventListener("afterprint", () => folded.splice(0).forEach((node) => { node.open = false; }));
  document.documentElement.dataset.ready = "true";
})();

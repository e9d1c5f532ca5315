"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const make = (name, text = "", className = "") => {
    const element = document.createElement(name);
    element.textContent = text;
    if (className) element.className = className;
    return element;
  };

  // Characters that show nothing, or change how others are shown: written out as their code.
  const UNSEEN = new RegExp(
    "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u00a0\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5" +
      "\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0" +
      "\\ufff9-\\ufffb]|[\\ud800-\\udbff](?![\\udc00-\\udfff])|(?<![\\ud800-\\udbff])[\\udc00-\\udfff]" +
      "|\\udb40[\\udc00-\\uddef]",
    "g",
  );
  const showText = (element, text) => {
    let last = 0;
    for (const match of text.matchAll(UNSEEN)) {
      const code = match[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
      element.append(text.slice(last, match.index), make("span", `U+${code}`, "unseen-mark"));
      last = match.index + match[0].length;
    }
    element.append(text.slice(last));
    return element;
  };

  // Samples: unpacked when first asked for.
  const packets = new Map();
  const unpack = (id) => {
    if (!packets.has(id)) {
      packets.set(id, (async () => {
        const bytes = Uint8Array.from(atob(find(id).textContent), (char) => char.charCodeAt(0));
        const stream = new Blob([bytes]).stream();
        const text = await new Response(
          stream.pipeThrough(new DecompressionStream("deflate-raw")),
        ).text();
        return JSON.parse(text);
      })());
    }
    return packets.get(id);
  };
  const facts = new Map();
  const factsOf = (run) => {
    if (!facts.has(run)) {
      const element = find(`r${run}-facts`);
      facts.set(run, element ? JSON.parse(element.textContent) : {});
    }
    return facts.get(run);
  };

  // Tables that are stacked on small screens keep their meaning for screen readers.
  const ROLES = { TABLE: "table", THEAD: "rowgroup", TBODY: "rowgroup", TR: "row", TD: "cell" };
  const giveRoles = (table) => {
    for (const element of [table, ...table.querySelectorAll("thead, tbody, tr, td, th")]) {
      const header = element.scope === "row" ? "rowheader" : "columnheader";
      element.setAttribute("role", ROLES[element.tagName] ?? header);
    }
  };

  // Cells: filters.
  const forms = [...document.querySelectorAll("form.filters[data-run]")];
  const applyFilters = (form) => {
    const wanted = Object.fromEntries(new FormData(form));
    const words = wanted.search.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [...find(`r${form.dataset.run}-table`).tBodies[0].rows];
    let shown = 0;
    for (const row of rows) {
      const panels = row.dataset.panels.split(" ");
      const text = row.textContent.toLowerCase();
      row.hidden = !(
        (!wanted.verdict || row.dataset.verdict === wanted.verdict) &&
        (!wanted.task || row.dataset.task === wanted.task) &&
        (!wanted.figure || panels.some((panel) => panel.replace(/[a-z]+$/, "") === wanted.figure)) &&
        words.every((word) => text.includes(word))
      );
      shown += !row.hidden;
    }
    form.querySelector("output").textContent = `${shown} of ${rows.length} cells`;
  };
  const FILTERS = ["verdict", "figure", "task", "search"];
  const remember = (form) => {
    const kept = new URLSearchParams();
    for (const name of FILTERS) if (form.elements[name].value) kept.set(name, form.elements[name].value);
    if ([...kept].length) kept.set("run", form.dataset.run);
    history.replaceState(null, "", `#${kept}`);
  };
  for (const form of forms) {
    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => { applyFilters(form); remember(form); });
    form.addEventListener("reset", () => setTimeout(() => { applyFilters(form); remember(form); }));
    applyFilters(form);
  }
  for (const element of document.querySelectorAll(".needs-script")) element.hidden = false;
  document.querySelectorAll("table.stack").forEach(giveRoles);

  // A cell and its samples.
  const dialog = find("cell");
  const filters = find("sample-filters");
  let opened = null;
  let inner = false;
  const detail = (text) => showText(make("pre"), text);
  const promptOf = (packet, number) => {
    if (number === null) return make("span", "not kept");
    const [leftOut, shared, rest] = packet.prompts[number];
    const box = document.createElement("details");
    const text = packet.parts[shared] + packet.parts[rest];
    box.append(make("summary", `${text.length} characters`));
    box.addEventListener("toggle", () => {
      if (box.childElementCount > 1) return;
      if (leftOut) box.append(make("p", `${leftOut} characters before these were left out.`));
      box.append(detail(text));
    });
    return box;
  };
  const sampleRow = (packet, own, index) => {
    const row = document.createElement("tr");
    const add = (label, content) => {
      const cell = label === "Row" ? make("th") : make("td");
      if (label === "Row") cell.scope = "row";
      else cell.dataset.label = label;
      cell.append(content);
      row.append(cell);
    };
    const logits = document.createElement("span");
    for (const [label, values] of Object.entries(own.logits)) {
      const value = values[index] === null ? "none" : values[index].toFixed(4);
      logits.append(showText(make("span", "", "logit"), `${label} ${value}`), " ");
    }
    add("Row", String(own.row[index]));
    add("Score", String(Number(own.score[index].toFixed(4))));
    add("Gold", detail(packet.strings[own.gold[index]]));
    add("Prediction", detail(packet.strings[own.output[index]]));
    add("Logits", logits.childElementCount ? logits : "\u2013");
    add("Prompt", promptOf(packet, own.prompt[index]));
    return row;
  };
  const fillSamples = async () => {
    const table = find("cell-samples");
    const status = find("cell-status");
    const { name, run, dataset } = opened;
    const wanted = Object.fromEntries(new FormData(filters));
    table.querySelector("tbody")?.remove();
    table.hidden = true;
    if (!wanted.seed) {
      status.textContent = "This cell has no samples file.";
      return;
    }
    status.textContent = "Unpacking samples\u2026";
    let packet;
    try {
      packet = await unpack(`r${run}-samples-${dataset}`);
    } catch {
      status.textContent = "This browser cannot unpack the samples; a newer one can.";
      return;
    }
    if (opened?.name !== name || opened.run !== run) return;
    const own = packet.cells[name][wanted.seed];
    const body = document.createElement("tbody");
    const word = wanted.search.toLowerCase();
    own.row.forEach((_, index) => {
      const texts = [packet.strings[own.gold[index]], packet.strings[own.output[index]]];
      if (own.prompt[index] !== null) {
        const [, shared, rest] = packet.prompts[own.prompt[index]];
        texts.push(packet.parts[shared] + packet.parts[rest]);
      }
      const full = own.score[index] === 1;
      if (wanted.score && full !== (wanted.score === "full")) return;
      if (word && !texts.some((text) => text.toLowerCase().includes(word))) return;
      body.append(sampleRow(packet, own, index));
    });
    table.querySelector("tbody")?.remove();
    table.append(body);
    giveRoles(table);
    table.hidden = false;
    status.textContent = `${body.rows.length} of ${own.row.length} samples`;
  };
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("input", fillSamples);
  const openCell = (name, run) => {
    const all = factsOf(run);
    if (!Object.hasOwn(all, name)) return false;
    const known = all[name];
    opened = { name, run, dataset: known.dataset };
    find("cell-name").textContent = name;
    find("cell-facts").replaceChildren(
      ...known.facts.map(([term, text]) => {
        const pair = document.createElement("div");
        pair.append(make("dt", term), showText(make("dd"), text));
        return pair;
      }),
    );
    filters.reset();
    filters.elements.seed.replaceChildren(
      ...known.seeds.map((seed) => {
        const option = make("option", seed === "None" ? "none (base model)" : seed);
        option.value = seed;
        return option;
      }),
    );
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    find("cell-name").focus();
    fillSamples();
    return true;
  };
  dialog.addEventListener("close", () => {
    opened = null;
    if (!location.hash.startsWith("#cell=")) return;
    if (inner) history.back();
    else history.replaceState(null, "", "#");
  });
  find("cell-close").addEventListener("click", () => dialog.close());

  // Where the address leads: #cell=NAME, #panel=1a, #verdict=... and the other filters; and run=1.
  const follow = (byLink) => {
    const asked = new URLSearchParams(location.hash.slice(1));
    const run = /^\d+$/.test(asked.get("run") ?? "") ? Number(asked.get("run")) : 0;
    inner = byLink;
    if (asked.has("cell") && openCell(asked.get("cell"), run)) return;
    if (dialog.open) dialog.close();
    const reveal = (element) => {
      for (let part = element; part; part = part.parentElement) {
        if (part.tagName === "DETAILS") part.open = true;
      }
    };
    const panel = asked.has("panel") && find(`r${run}-panel-${asked.get("panel")}`);
    if (panel) {
      reveal(panel);
      panel.scrollIntoView();
      panel.querySelector("summary").focus();
    }
    const form = forms.find((one) => Number(one.dataset.run) === run);
    if (form && FILTERS.some((name) => asked.has(name))) {
      for (const name of FILTERS) form.elements[name].value = asked.get(name) ?? "";
      applyFilters(form);
      reveal(form);
      find(`r${run}-cells`).scrollIntoView();
    }
    const part = /^#[\w-]+$/.test(location.hash) && find(location.hash.slice(1));
    if (part) {
      reveal(part);
      part.scrollIntoView();
    }
  };
  addEventListener("hashchange", () => follow(true));
  follow(false);
})();

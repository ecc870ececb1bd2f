"use strict";
// The page's only script. Everything a model wrote reaches the page as text (textContent), never as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const VIEWS = ["overview", "credit", "rollouts"];
  const MOST_CHARACTERS = 400; // of one token, until it is asked for in full

  // ---------------------------------------------------------------- small helpers
  function make(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name === "class") element.className = value;
      else if (name === "text") element.textContent = value;
      else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children);
    return element;
  }
  function makeSvg(tag, attributes) {
    const element = document.createElementNS($("strip").namespaceURI, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  }
  const count = (value) => value.toLocaleString("en");
  function digits(value, places = 3) {
    if (!Number.isFinite(value)) return "–";
    if (value !== 0 && Math.abs(value) < 10 ** -places) return value.toExponential(1);
    return value.toFixed(Math.abs(value) >= 100 ? 1 : places);
  }
  const signed = (value) => (value > 0 ? "+" : value < 0 ? "−" : "") + digits(Math.abs(value));
  function percent(value) {
    if (!Number.isFinite(value)) return "–";
    if (value > 0 && value < 0.0005) return "<\u00a00.1\u00a0%";
    if (value < 1 && value > 0.9995) return ">\u00a099.9\u00a0%";
    return (100 * value).toFixed(1) + "\u00a0%";
  }
  function clip(text, most) {
    return text.length <= most ? text : text.slice(0, most) + "…";
  }
  /* What would otherwise be invisible in a token: controls, and marks that turn or hide text. */
  function hiddenMarks(text) {
    const found = text.match(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g) || [];
    const names = [...new Set(found)].slice(0, 4).map((mark) => "U+" + mark.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0"));
    return names.length ? names.join(" ") : null;
  }
  const verdictOf = (rollout) => clip(rollout.reason || "no verdict", 80).replace(/_/g, " ");
  const visible = (text) => (text === "" ? "∅" : text.replace(/\n/g, "↵").replace(/\t/g, "⇥").replace(/ /g, "␣"));

  // ---------------------------------------------------------------- opening blocks (see encode.py)
  async function inflate(id) {
    const text = atob($(id).textContent);
    const bytes = new Uint8Array(text.length);
    for (let index = 0; index < text.length; index++) bytes[index] = text.charCodeAt(index);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }
  const halves = (() => {
    let table = null;
    return () => {
      if (table) return table;
      table = new Float32Array(65536);
      for (let bits = 0; bits < 65536; bits++) {
        const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, mantissa = bits & 1023;
        table[bits] = exponent === 31 ? (mantissa ? NaN : sign * Infinity)
          : sign * (exponent ? 2 ** (exponent - 15) * (1 + mantissa / 1024) : 2 ** -24 * mantissa);
      }
      return table;
    };
  })();
  function reader(bytes, size) {
    let at = 4 + new DataView(bytes.buffer).getUint32(0, true);
    const plane = () => bytes.subarray(at, (at += size));
    const references = () => {
      const [low, middle, high] = [plane(), plane(), plane()];
      return Uint32Array.from(low, (value, index) => value | (middle[index] << 8) | (high[index] << 16));
    };
    const floats = () => {
      const [low, high] = [plane(), plane()], table = halves();
      return Float32Array.from(low, (value, index) => table[value | (high[index] << 8)]);
    };
    return { references, floats };
  }
  let tokenTable = null;
  const tokens = () => (tokenTable ??= inflate("tokens").then((bytes) => JSON.parse(new TextDecoder().decode(bytes))));
  const opened = new Map();
  function openGroup(index) {
    if (!opened.has(index)) {
      if (opened.size >= 12) opened.delete(opened.keys().next().value);
      opened.set(index, decodeGroup(index));
    }
    return opened.get(index);
  }
  async function decodeGroup(index) {
    const [bytes, table] = await Promise.all([inflate(`block-${index}`), tokens()]);
    const length = new DataView(bytes.buffer).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
    const total = header.lengths.reduce((sum, value) => sum + value, 0);
    const { references, floats } = reader(bytes, total);
    const all = { token: references() };
    for (const name of ["credit", "kl", "student", "teacher", "studentEntropy", "teacherEntropy"]) all[name] = floats();
    for (const name of ["topStudent", "topTeacher"]) {
      all[name] = Array.from({ length: header.alternatives }, () => ({ token: references(), chance: floats() }));
    }
    const starts = [];
    header.lengths.reduce((sum, value) => (starts.push(sum), sum + value), 0);
    return { ...header, all, starts, table };
  }

  // ---------------------------------------------------------------- which rollouts there are
  const entries = [];
  data.groups.forEach((group, g) => group.rollouts.forEach((rollout, r) => entries.push({ g, r, group, rollout })));
  const largest = entries.filter((entry) => entry.rollout.peak > 0)
    .sort((a, b) => b.rollout.peak - a.rollout.peak).slice(0, Math.max(10, Math.ceil(entries.length / 10)));
  const FILTERS = [
    ["all", "All", entries],
    ["failed-with-peer", "Failed with peer", entries.filter(({ rollout }) => rollout.reward <= 0 && rollout.peer >= 0)],
    ["fallback", "Fallback", entries.filter(({ rollout }) => rollout.peer < 0 && rollout.context >= 0)],
    ["truncated", "Truncated", entries.filter(({ rollout }) => !rollout.finished)],
    ["largest-credit", "Largest credit", largest],
  ];
  const filtered = (name) => (FILTERS.find((filter) => filter[0] === name) || FILTERS[0])[2];
  const nth = (g) => data.groups.slice(0, g).filter((group) => group.step === data.groups[g].step && group.id === data.groups[g].id).length;
  const state = { view: "overview", filter: "all", g: 0, r: 0, token: -1 };
  let drawn = ""; // the rollout on screen, so that moving a token redraws nothing
  let columns = { left: [], right: [] };

  // ---------------------------------------------------------------- addresses
  function address() {
    if (state.view !== "rollouts" || !entries.length) return "#" + state.view;
    const group = data.groups[state.g];
    const query = new URLSearchParams({ step: group.step, question: group.id, rollout: state.r });
    if (nth(state.g)) query.set("occurrence", nth(state.g));
    if (state.filter !== "all") query.set("filter", state.filter);
    if (state.token >= 0) query.set("token", state.token);
    return "#rollouts?" + query;
  }
  function readAddress() {
    const [view, query] = location.hash.slice(1).split("?", 2);
    state.view = VIEWS.includes(view) ? view : "overview";
    if (query === undefined) return;
    const wanted = new URLSearchParams(query), step = wanted.get("step"), id = wanted.get("question");
    state.filter = FILTERS.some((filter) => filter[0] === wanted.get("filter")) ? wanted.get("filter") : "all";
    const same = data.groups.map((group, g) => [group, g]).filter(([group]) => String(group.step) === step && group.id === id);
    const found = same[Number(wanted.get("occurrence")) || 0] || same[0];
    if (!found) return;
    state.g = found[1];
    state.r = Math.min(Math.max(Number(wanted.get("rollout")) || 0, 0), found[0].rollouts.length - 1);
    state.token = wanted.has("token") ? Number(wanted.get("token")) : -1;
  }
  function remember(push) {
    if (address() === location.hash) return;
    history[push ? "pushState" : "replaceState"](null, "", address());
  }

  // ---------------------------------------------------------------- moving about
  function go(entry, push = true) {
    if (!entry) return;
    Object.assign(state, { g: entry.g, r: entry.r, token: -1 });
    remember(push);
    show();
  }
  const position = () => filtered(state.filter).findIndex((entry) => entry.g === state.g && entry.r === state.r);
  function step(by) {
    const list = filtered(state.filter), at = position();
    go(list[at < 0 ? 0 : Math.min(Math.max(at + by, 0), list.length - 1)]);
  }
  function stepQuestion(by) {
    const list = filtered(state.filter);
    const ahead = by > 0 ? list.find((entry) => entry.g > state.g) : [...list].reverse().find((entry) => entry.g < state.g);
    const first = ahead && list.find((entry) => entry.g === ahead.g);
    go(first);
  }
  function choose(accept) {
    const entry = filtered(state.filter).find(accept);
    if (!entry) state.filter = "all";
    go(entry || entries.find(accept));
  }
  function setFilter(name) {
    if (!filtered(name).length) return;
    state.filter = name;
    if (name === "largest-credit" || position() < 0) go(filtered(name)[0]);
    else { remember(true); show(); }
  }

  // ---------------------------------------------------------------- the rollout view
  async function show() {
    for (const view of VIEWS) $("view-" + view).hidden = view !== state.view;
    for (const link of document.querySelectorAll(".tabs a")) {
      if (link.dataset.view === state.view) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    hideInspector();
    $("viewer").hidden = !entries.length;
    $("no-rollouts").hidden = entries.length > 0;
    if (state.view !== "rollouts" || !entries.length) return;
    showChoice();
    const wanted = `${state.g}/${state.r}`;
    if (drawn !== wanted) {
      let group;
      try { group = await openGroup(state.g); } catch (error) { return showFailure(error); }
      if (wanted !== `${state.g}/${state.r}`) return;
      drawn = wanted;
      showRollout(group);
    }
    document.documentElement.dataset.shown = wanted;
    if (state.token >= 0 && columns.left[state.token]) focusToken(columns.left[state.token]);
  }
  function showFailure(error) {
    drawn = "";
    $("pair").replaceChildren(make("p", { class: "nothing", text: `This rollout could not be opened (${error.message}). A browser of 2023 or later is needed.` }));
  }
  function showChoice() {
    const group = data.groups[state.g], list = filtered(state.filter), at = position();
    $("filters").replaceChildren(...FILTERS.map(([name, label, found]) => make("button",
      { type: "button", "aria-pressed": String(name === state.filter), "data-filter": name, disabled: !found.length, onclick: () => setFilter(name) },
      label + " ", make("span", { class: "count", text: count(found.length) }))));
    $("place").textContent = at < 0 ? `– of ${count(list.length)}` : `${count(at + 1)} of ${count(list.length)}`;
    const steps = [...new Set(data.groups.map((item) => item.step))];
    $("step").replaceChildren(...steps.map((value) => make("option", { value, selected: value === group.step, text: String(value) })));
    const here = data.groups.map((item, g) => [item, g]).filter(([item]) => item.step === group.step);
    $("question").replaceChildren(...here.map(([item, g]) => make("option", { value: g, selected: g === state.g, text: `${item.id} · ${item.preview}` })));
    const inside = new Set(list.filter((entry) => entry.g === state.g).map((entry) => entry.r));
    $("group").replaceChildren(...group.rollouts.map((rollout, r) => make("button", {
      type: "button", "data-reward": rollout.reward > 0 ? 1 : 0, class: inside.has(r) ? "" : "outside",
      "aria-current": r === state.r ? "true" : null, "aria-label": `Rollout ${r}, ${verdictOf(rollout)}`,
      onclick: () => go({ g: state.g, r }), text: `${r} ${rollout.reward > 0 ? "✓" : "✗"}` })));
  }
  function showRollout(group) {
    const index = data.groups[state.g], rollout = index.rollouts[state.r];
    $("question-text").textContent = group.question;
    $("answer-text").textContent = group.answer || "none known";
    showVerdict(index, rollout, group.extracted[state.r]);
    showLegend();
    showStrip(group, rollout);
    showPair(group, index, rollout);
    const context = group.contexts[rollout.context];
    $("teacher-title").textContent = context === undefined ? "No teacher text: this rollout was not distilled"
      : `What the teacher read before this response (${count(context.length)} characters)`;
    $("teacher-text").textContent = context ?? "";
    $("teacher-text").hidden = context === undefined;
  }
  function showVerdict(index, rollout, extracted) {
    const good = rollout.reward > 0;
    const item = (label, value) => make("span", {}, label + " ", make("b", { text: value }));
    const parts = [make("b", { class: good ? "good" : "bad", text: `${good ? "✓" : "✗"} Reward ${rollout.reward}, ${verdictOf(rollout)}` })];
    parts.push(extracted === null ? make("span", { text: "No answer read" }) : item("Answer read", clip(extracted, 120)));
    parts.push(item("Length", `${count(rollout.length)} tokens` + (rollout.finished ? "" : ", truncated")));
    if (rollout.peer >= 0) {
      parts.push(make("span", {}, "Peer ", make("button", { type: "button", id: "peer", text: `rollout ${rollout.peer}`, onclick: () => go({ g: state.g, r: rollout.peer }) })));
      parts.push(item("Divergence", rollout.divergence < 0 ? "none" : `token ${rollout.divergence}`));
    } else parts.push(make("span", { text: rollout.context >= 0 ? "No peer: the teacher read the answer only (fallback)" : "Nothing to learn from: no peer and no answer" }));
    parts.push(item("Largest |credit|", `${digits(rollout.peak, 2)} nats`));
    parts.push(item("Weight", digits(rollout.weight, 4)));
    if (index.difficulty !== null) parts.push(item("Initial pass rate", percent(index.difficulty)));
    $("verdict").replaceChildren(...parts);
  }

  // ---------------------------------------------------------------- color: one scale for the whole run
  const limit = data.credit_limit;
  // Color grows with the power 2/3 of credit: a tenth of the strongest credit can still be told from none.
  const strength = (credit) => (Number.isFinite(credit) ? Math.min(1, Math.abs(credit) / limit) ** (2 / 3) : 0);
  function tint(element, credit) {
    if (!(strength(credit) > 0.01)) return;
    element.classList.add(credit > 0 ? "pos" : "neg");
    if (strength(credit) > 0.4) element.classList.add("strong");
    element.style.setProperty("--strength", strength(credit).toFixed(3));
  }
  function showLegend() {
    const canvas = $("legend"), brush = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(name).trim();
    brush.clearRect(0, 0, canvas.width, canvas.height);
    for (let x = 0; x < canvas.width; x++) {
      const value = ((2 * x) / (canvas.width - 1) - 1) * limit;
      brush.globalAlpha = strength(value) * 0.62;
      brush.fillStyle = color(value > 0 ? "--pos" : "--neg");
      brush.fillRect(x, 0, 1, canvas.height);
    }
    $("legend-ticks").replaceChildren(...[-1, -0.5, 0, 0.5, 1].map((share) => {
      const tick = make("span", { text: (share < 0 ? "−" : share > 0 ? "+" : "") + Math.abs(share * limit) });
      tick.style.left = `${50 + 50 * share}%`;
      return tick;
    }));
  }
  function showStrip(group, rollout) {
    const strip = $("strip"), start = group.starts[state.r], size = group.lengths[state.r];
    const bars = (sign) => {
      let path = "";
      for (let t = 0; t < size; t++) {
        const credit = group.all.credit[start + t];
        if (Math.sign(credit) === sign) path += `M${t} 30h1v${(-sign * Math.max(0.6, 28 * strength(credit))).toFixed(2)}h-1z`;
      }
      return path;
    };
    strip.setAttribute("viewBox", `0 0 ${Math.max(size, 1)} 60`);
    strip.replaceChildren(
      makeSvg("rect", { class: "here", x: -9, y: 0, width: 1, height: 60 }),
      makeSvg("line", { class: "zero", x1: 0, x2: size, y1: 30, y2: 30, "vector-effect": "non-scaling-stroke" }),
      makeSvg("path", { class: "pos", d: bars(1) }), makeSvg("path", { class: "neg", d: bars(-1) }));
    if (rollout.divergence >= 0) {
      strip.append(makeSvg("line", { class: "tau", x1: rollout.divergence, x2: rollout.divergence, y1: 0, y2: 60, "vector-effect": "non-scaling-stroke" }));
    }
    strip.onclick = (event) => {
      const box = strip.getBoundingClientRect();
      const span = columns.left[Math.floor(((event.clientX - box.left) / box.width) * size)];
      if (span) focusToken(span);
    };
  }

  // ---------------------------------------------------------------- tokens, side by side
  function tokenSpan(group, r, t, side) {
    const at = group.starts[r] + t, text = group.table[group.all.token[at]], credit = group.all.credit[at];
    const span = make("span", { class: "t", tabindex: -1, "data-t": t, "data-side": side, "data-credit": Number.isFinite(credit) ? digits(credit, 4) : null });
    span.textContent = text.slice(0, MOST_CHARACTERS);
    if (text.length > MOST_CHARACTERS) span.dataset.more = `… ${count(text.length - MOST_CHARACTERS)} more characters`;
    if (text === "") span.classList.add("empty");
    else if (/^[^\n]*\n/.test(text) && text.trim() === "") span.classList.add("line");
    const marks = hiddenMarks(text.slice(0, MOST_CHARACTERS));
    if (marks) span.dataset.hidden = marks;
    tint(span, credit);
    return span;
  }
  function expand(span) {
    const group = columns.group, at = group.starts[Number(columns[span.dataset.side + "Rollout"])] + Number(span.dataset.t);
    span.textContent = group.table[group.all.token[at]];
    delete span.dataset.more;
  }
  function showPair(group, index, rollout) {
    const pair = $("pair"), peer = rollout.peer;
    const spans = (r, side) => Array.from({ length: group.lengths[r] }, (_, t) => tokenSpan(group, r, t, side));
    columns = { group, left: spans(state.r, "left"), right: peer >= 0 ? spans(peer, "right") : [], leftRollout: state.r, rightRollout: peer };
    if (columns.left.length) columns.left[0].tabIndex = 0;
    const split = rollout.divergence >= 0 ? rollout.divergence : columns.left.length;
    const column = (list, place) => {
      const box = make("div", { class: `tokens ${place}` }, ...list);
      return box;
    };
    const title = (r, label, side) => make("h3", { class: side, text: `${label}: rollout ${r}, ${verdictOf(index.rollouts[r])}` });
    pair.className = peer >= 0 ? "pair" : "pair alone";
    if (!columns.left.length && group.texts[state.r] !== null) {
      pair.replaceChildren(title(state.r, "Response", "left"), make("div", { class: "text left", text: group.texts[state.r] }));
    } else if (peer < 0) {
      pair.replaceChildren(title(state.r, "Response", "left"), column(columns.left, "left"));
    } else {
      const said = rollout.divergence < 0 ? "the response never leaves its peer" : `divergence at token ${rollout.divergence}`;
      for (const list of [columns.left, columns.right]) if (rollout.divergence >= 0 && list[split]) list[split].classList.add("at");
      pair.replaceChildren(
        title(state.r, "Response", "left"), title(peer, "Peer", "right"),
        column(columns.left.slice(0, split), "prefix left"), column(columns.right.slice(0, split), "prefix right"),
        make("div", { class: "rule", text: said }),
        column(columns.left.slice(split), "rest left"), column(columns.right.slice(split), "rest right"));
    }
    if (group.texts[state.r] !== null && columns.left.length) {
      pair.append(make("details", { class: "left whole" }, make("summary", { text: "As plain text" }), make("div", { class: "text", text: group.texts[state.r] })));
    }
  }
  function focusToken(span) {
    for (const other of columns[span.dataset.side]) if (other.tabIndex === 0 && other !== span) other.tabIndex = -1;
    span.tabIndex = 0;
    span.focus({ preventScroll: true });
    const box = span.getBoundingClientRect();
    if (box.top < 80 || box.bottom > innerHeight - 260) span.scrollIntoView({ block: "center" });
    inspect(span);
  }

  // ---------------------------------------------------------------- the inspector
  function inspect(span) {
    const group = columns.group, r = Number(columns[span.dataset.side + "Rollout"]), t = Number(span.dataset.t), at = group.starts[r] + t;
    const rollout = data.groups[state.g].rollouts[r], all = group.all, text = group.table[all.token[at]];
    const offset = rollout.peer >= 0 && rollout.divergence >= 0 ? t - rollout.divergence : null;
    const measure = (label, value) => make("div", {}, make("dt", { text: label }), make("dd", { text: value }));
    const box = $("inspector");
    box.replaceChildren(
      make("div", { class: "title" }, make("bdi", { class: "glyph", text: clip(visible(text), 90) }),
        make("span", { class: "where", text: `token ${t}` + (offset === null ? "" : `, ${offset === 0 ? "divergence" : (offset > 0 ? "+" : "−") + Math.abs(offset)}`) })),
      make("dl", { class: "measures" },
        measure("Student", percent(Math.exp(all.student[at]))), measure("Teacher", percent(Math.exp(all.teacher[at]))),
        measure("Credit", signed(all.credit[at])), measure("KL", digits(all.kl[at]))),
      make("div", { class: "tops" }, tops("Student", all.topStudent, at, text, all.studentEntropy[at], group.table),
        tops("Teacher", all.topTeacher, at, text, all.teacherEntropy[at], group.table)));
    box.hidden = false;
    const token = span.getClientRects()[0] || span.getBoundingClientRect(), width = box.offsetWidth, height = box.offsetHeight;
    // Above, where there is room: what follows a token is what one wants to read next.
    const below = token.top < height + 12;
    box.style.left = Math.max(8, Math.min(token.left, document.documentElement.clientWidth - width - 8)) + scrollX + "px";
    box.style.top = (below ? token.bottom + 8 : token.top - height - 8) + scrollY + "px";
    const here = document.querySelector("#strip .here");
    if (here && span.dataset.side === "left") here.setAttribute("x", t);
  }
  function tops(title, ranks, at, own, entropy, table) {
    const list = make("ol");
    for (const rank of ranks) {
      const reference = rank.token[at];
      if (reference === 0xffffff) continue;
      const share = make("span", { class: "share" });
      share.style.width = `${Math.min(100, 100 * (rank.chance[at] || 0))}%`;
      list.append(make("li", { class: table[reference] === own ? "own" : "" }, share, make("bdi", { text: clip(visible(table[reference]), 40) }), make("span", { text: percent(rank.chance[at]) })));
    }
    const said = Number.isFinite(entropy) ? `${title} expects, entropy ${digits(entropy, 2)}` : `${title} expects`;
    return make("div", {}, make("h4", { text: said }), list);
  }
  const hideInspector = () => { $("inspector").hidden = true; };
  const tokenUnder = (event) => event.target.closest && event.target.closest(".t");
  $("pair").addEventListener("pointerover", (event) => { const span = tokenUnder(event); if (span && event.pointerType !== "touch") inspect(span); });
  $("pair").addEventListener("pointerleave", () => {
    const focused = document.activeElement;
    if (focused && focused.classList.contains("t")) inspect(focused); else hideInspector();
  });
  $("pair").addEventListener("click", (event) => {
    const span = tokenUnder(event);
    if (!span) return hideInspector();
    if (span.dataset.more) expand(span);
    focusToken(span);
  });
  $("pair").addEventListener("focusin", (event) => {
    const span = tokenUnder(event);
    if (!span) return;
    inspect(span);
    if (span.dataset.side === "left") { state.token = Number(span.dataset.t); remember(false); }
  });
  $("pair").addEventListener("focusout", hideInspector);

  // ---------------------------------------------------------------- keyboard
  function moveToken(span, key) {
    const list = columns[span.dataset.side], t = Number(span.dataset.t);
    const to = { ArrowRight: t + 1, ArrowLeft: t - 1, Home: 0, End: list.length - 1 }[key];
    if (to !== undefined && list[to]) focusToken(list[to]);
    else if (key === "Escape") { span.blur(); state.token = -1; remember(false); }
    else if (key === "Enter" && span.dataset.more) expand(span);
    return to !== undefined;
  }
  function strongest() {
    let best = 0;
    columns.left.forEach((span, t) => { if (Math.abs(span.dataset.credit || 0) > Math.abs(columns.left[best].dataset.credit || 0)) best = t; });
    return columns.left[best];
  }
  const KEYS = {
    j: () => step(1), ArrowRight: () => step(1), k: () => step(-1), ArrowLeft: () => step(-1),
    n: () => stepQuestion(1), b: () => stepQuestion(-1),
    p: () => { const { peer } = data.groups[state.g].rollouts[state.r]; if (peer >= 0) go({ g: state.g, r: peer }); },
    d: () => { const span = columns.left[data.groups[state.g].rollouts[state.r].divergence]; if (span) focusToken(span); },
    m: () => { const span = strongest(); if (span) focusToken(span); },
    "?": () => toggleHelp(),
  };
  FILTERS.forEach(([name], index) => { KEYS[String(index + 1)] = () => setFilter(name); });
  function toggleHelp() {
    $("keys").hidden = !$("keys").hidden;
    $("help").setAttribute("aria-expanded", String(!$("keys").hidden));
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, input, textarea")) return;
    const onToken = event.target.classList.contains("t");
    if (onToken && moveToken(event.target, event.key)) return event.preventDefault();
    if (state.view !== "rollouts" || !entries.length || !Object.hasOwn(KEYS, event.key)) return;
    KEYS[event.key]();
    event.preventDefault();
  });

  // ---------------------------------------------------------------- charts: values under the pointer, tables
  function nearest(chart, x) {
    const all = chart.series.flatMap((series) => series.x);
    return all.reduce((best, value) => (Math.abs(value - x) < Math.abs(best - x) ? value : best), all[0]);
  }
  function readOut(svg, event) {
    const chart = data.charts[svg.dataset.figure], box = svg.getBoundingClientRect();
    const pixel = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const x = nearest(chart, chart.low + ((pixel - chart.left) / (chart.right - chart.left)) * (chart.high - chart.low));
    const shown = chart.series.filter((series) => series.x.includes(x)).map((series) => {
      const index = series.x.indexOf(x), band = series.band[index];
      return `${chart.series.length > 1 ? series.label + " " : ""}${short(series.y[index])}${band ? ` ± ${short(band)}` : ""}`;
    });
    const at = chart.left + ((x - chart.low) / (chart.high - chart.low)) * (chart.right - chart.left), hair = svg.querySelector(".hair");
    hair.setAttribute("x1", at); hair.setAttribute("x2", at); hair.setAttribute("visibility", "visible");
    svg.closest("figure").querySelector(".readout").textContent = `${chart.x_label} ${chart.categories[x] ?? short(x)}: ${shown.join(", ")}`;
  }
  const short = (value) => (value === null ? "–" : String(Number(value.toPrecision(4))));
  for (const svg of document.querySelectorAll("svg.chart")) {
    svg.addEventListener("pointermove", (event) => readOut(svg, event));
    svg.addEventListener("pointerleave", () => {
      svg.querySelector(".hair").setAttribute("visibility", "hidden");
      svg.closest("figure").querySelector(".readout").textContent = "";
    });
  }
  for (const details of document.querySelectorAll("details.numbers")) {
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length === 1) details.append(make("div", { class: "scroll" }, numberTable(data.charts[details.dataset.figure])));
    });
  }
  function numberTable(chart) {
    const rows = chart.series.flatMap((series) => series.x.map((x, index) => make("tr", {},
      make("td", { text: series.label }), make("td", { class: "num", text: chart.categories[x] ?? short(x) }),
      make("td", { class: "num", text: short(series.y[index]) }), make("td", { class: "num", text: series.band.length ? "± " + short(series.band[index]) : "" }))));
    const head = ["", chart.x_label, chart.y_label, chart.series.some((series) => series.band.length) ? "95 %" : ""];
    return make("table", {}, make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { text })))), make("tbody", {}, ...rows));
  }

  // ---------------------------------------------------------------- start
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("help").addEventListener("click", toggleHelp);
  $("step").addEventListener("change", (event) => choose((entry) => String(entry.group.step) === event.target.value));
  $("question").addEventListener("change", (event) => choose((entry) => entry.g === Number(event.target.value)));
  $("theme").addEventListener("click", () => {
    const root = document.documentElement, dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    showLegend();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showLegend);
  addEventListener("popstate", () => { state.token = -1; readAddress(); show(); });
  readAddress();
  show().then(() => { document.documentElement.dataset.ready = String(entries.length); });
})();

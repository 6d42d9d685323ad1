"use strict";
(() => {
  const all = (selector, from = document) => Array.from(from.querySelectorAll(selector));
  const main = document.querySelector("main");
  const search = document.getElementById("q");
  const found = document.getElementById("found");
  const steps = all("details.step").map((element) => ({ element, text: element.textContent.toLowerCase() }));
  const shown = (step) => !step.element.hidden && !main.classList.contains("hide-" + step.element.dataset.status);

  const mark = (words) => {
    if (!("highlights" in CSS)) return;
    CSS.highlights.delete("found");
    if (words.length === 0) return;
    const ranges = [];
    for (const step of steps.filter(shown)) {
      const walker = document.createTreeWalker(step.element, NodeFilter.SHOW_TEXT);
      for (let node = walker.nextNode(); node && ranges.length < 2000; node = walker.nextNode()) {
        const text = node.data.toLowerCase();
        for (const word of words) {
          for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + word.length)) {
            const range = new Range();
            range.setStart(node, at);
            range.setEnd(node, Math.min(at + word.length, node.data.length));
            ranges.push(range);
          }
        }
      }
    }
    CSS.highlights.set("found", new Highlight(...ranges));
  };

  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter((word) => word !== "");
    for (const step of steps) step.element.hidden = !words.every((word) => step.text.includes(word));
    let count = 0;
    for (const host of all(".host")) {
      const own = all("details.step", host).filter((element) => shown({ element }));
      host.hidden = own.length === 0;
      count += own.length;
      for (const play of all(".play", host)) {
        let next = play.nextElementSibling;
        let any = false;
        for (; next && next.classList.contains("step"); next = next.nextElementSibling) any = any || shown({ element: next });
        play.hidden = !any;
      }
    }
    const matching = steps.filter((step) => !step.element.hidden).length;
    const more = matching - count;
    found.textContent = count + " of " + steps.length + " steps" + (more > 0 ? ", " + more + " filtered out" : "");
    main.classList.toggle("none", count === 0);
    mark(words);
  };

  const go = (element) => {
    main.classList.remove("hide-" + element.dataset.status);
    chips();
    if (element.hidden) search.value = "";
    filter();
    element.open = true;
    all(".here").forEach((one) => one.classList.remove("here"));
    element.classList.add("here");
    element.scrollIntoView({ block: "start" });
  };

  const chips = () => {
    for (const chip of all(".chip")) chip.setAttribute("aria-pressed", String(!main.classList.contains("hide-" + chip.dataset.status)));
  };

  for (const chip of all(".chip")) {
    chip.addEventListener("click", () => {
      main.classList.toggle("hide-" + chip.dataset.status);
      chips();
      filter();
    });
  }

  const fold = document.getElementById("fold");
  fold.addEventListener("click", () => {
    const open = fold.dataset.open !== "true";
    for (const step of steps.filter(shown)) step.element.open = open;
    fold.dataset.open = String(open);
    fold.textContent = open ? "Fold all" : "Unfold all";
  });

  document.getElementById("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  const fit = document.getElementById("fit");
  if (fit) fit.addEventListener("click", () => {
    const picture = document.querySelector(".picture");
    fit.textContent = picture.classList.toggle("fit") ? "Actual size" : "Fit to width";
  });

  const worst = ["failed", "unknown", "changed", "ok", "skipped"];
  for (const node of all(".dag .node")) {
    const own = steps.filter((step) => step.element.dataset.step === node.dataset.step && node.dataset.hosts.split(" ").includes(step.element.dataset.host));
    const status = worst.find((word) => own.some((step) => step.element.dataset.status === word));
    if (!status) continue;
    node.classList.add("is-" + status);
    node.setAttribute("tabindex", "0");
    node.setAttribute("role", "link");
    const target = own.find((step) => step.element.dataset.status === status).element;
    node.addEventListener("click", () => go(target));
    node.addEventListener("keydown", (event) => { if (event.key === "Enter") go(target); });
  }

  for (const link of all("a[href^='#s']")) {
    link.addEventListener("click", () => {
      const target = document.getElementById(link.getAttribute("href").slice(1));
      if (target) go(target);
    });
  }

  search.addEventListener("input", filter);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== search) {
      event.preventDefault();
      search.focus();
    } else if (event.key === "Escape" && search.value !== "") {
      search.value = "";
      filter();
    }
  });

  chips();
  filter();
  const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  if (target && target.classList.contains("step")) go(target);
})();

// What is wrong with the page that this runs in; told to the page around its frame.
window.addEventListener("load", () => {
  const width = document.documentElement.clientWidth;
  const name = (e) => `${e.tagName.toLowerCase()} ${e.id || e.className || e.textContent.trim().slice(0, 40)}`;
  const select = (query) => [...document.body.querySelectorAll(query)];

  // What scrolls by itself may be wider than the page.
  const isCut = (e) => {
    for (let p = e.parentElement; p; p = p.parentElement)
      if (["auto", "scroll", "hidden"].includes(getComputedStyle(p).overflowX)) return true;
    return false;
  };
  const overflow = select("*").filter((e) => e.getBoundingClientRect().right > width + 1 && !isCut(e)).map(name);
  const whole = document.documentElement.scrollWidth;
  if (whole > width) overflow.push(`the page, ${whole} pixels`);

  const isMissing = (e) => !e.complete || !e.naturalWidth || !e.alt || e.getBoundingClientRect().width < 100;
  const missing = select("img").filter(isMissing).map((e) => name(e) + e.alt);

  const isUnlabelled = (e) => {
    const heads = [...e.querySelectorAll("th[scope=col]"), ...(e.tHead ? e.tHead.rows[0].cells : [])];
    const named = e.caption || e.getAttribute("aria-label");
    return !named || !e.querySelector("th") || heads.some((h) => !h.textContent.trim());
  };
  const unlabelled = select("table").filter(isUnlabelled).map(name);

  // Relative luminance and contrast as WCAG 2.1 defines them.
  const bend = (x) => (x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
  const luminance = (colour) => {
    const [r, g, b] = colour.match(/[\d.]+/g).slice(0, 3).map((x) => bend(x / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (e) => {
    for (let p = e; p; p = p.parentElement) {
      const colour = getComputedStyle(p).backgroundColor;
      if (!/rgba\(.*, 0\)|transparent/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const isFaint = (e) => {
    const [dark, light] = [luminance(getComputedStyle(e).color), luminance(ground(e))].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05) < 4.5;
  };
  const faint = select("h1, h2, p, td, th, small, figcaption, a, code, summary").filter(isFaint).map(name);

  parent.postMessage(JSON.stringify({ overflow, missing, unlabelled, faint, width, ground: ground(document.body) }), "*");
});

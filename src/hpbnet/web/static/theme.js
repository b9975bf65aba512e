// Light or dark: the choice kept in this browser, else what the system prefers. Runs before the first paint.
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const kept = () => {
    try {
      return localStorage.getItem("hpbnet-theme");
    } catch {
      return null; // storage is switched off
    }
  };
  const apply = () => {
    document.documentElement.dataset.theme = kept() ?? (system.matches ? "dark" : "light");
  };
  system.addEventListener("change", apply);
  apply();
  window.switchTheme = () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("hpbnet-theme", next);
    } catch {
      // the choice lasts until the page is closed
    }
    document.documentElement.dataset.theme = next;
    return next;
  };
})();

// Fetches the part of a page that changes, every two seconds; without script the page reloads.
"use strict";
(() => {
  const part = document.querySelector("[data-live]");
  if (!part) return;
  const again = async () => {
    if (!document.hidden) {
      try {
        const answer = await fetch(part.dataset.live, { credentials: "same-origin", redirect: "error" });
        if (answer.status === 401) { location.reload(); return; }
        if (answer.ok) {
          const text = await answer.text();
          // Only what differs is replaced: a screen reader speaks of changes, not of every poll.
          if (text !== part.dataset.text) { part.innerHTML = text; part.dataset.text = text; }
          part.classList.remove("stale");
        } else { part.classList.add("stale"); }
      } catch { part.classList.add("stale"); }
    }
    setTimeout(again, 2000);
  };
  setTimeout(again, 2000);
})();

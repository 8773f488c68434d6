"use strict";
// One stage (timeline) and one player a recording. The page can be read without this script; it only adds listening.
for (const stage of document.querySelectorAll(".stage[role=slider]")) {
  const player = document.getElementById(stage.id.replace("-stage", "-player"));
  const drawing = stage.querySelector("svg.timeline");
  const playhead = stage.querySelector(".playhead");
  const duration = Number(stage.dataset.duration);
  const left = Number(stage.dataset.left);
  const right = Number(stage.dataset.right);
  const playable = Number(stage.dataset.playerS);

  const clock = (seconds) => {
    const tenths = Math.round(seconds * 10);
    const pad = (value) => String(value).padStart(2, "0");
    const hours = Math.floor(tenths / 36000);
    const minutes = Math.floor(tenths / 600) % 60;
    return (hours ? hours + ":" + pad(minutes) : minutes) + ":" + pad(Math.floor(tenths / 10) % 60) + "." + (tenths % 10);
  };
  const show = () => {
    const now = Math.min(player.currentTime, duration);
    playhead.setAttribute("transform", "translate(" + (now / duration) * (right - left) + " 0)");
    stage.setAttribute("aria-valuenow", now.toFixed(1));
    stage.setAttribute("aria-valuetext", clock(now));
    stage.classList.add("live");
  };
  const follow = () => {
    show();
    if (!player.paused) requestAnimationFrame(follow);
  };
  const seek = (seconds) => {
    player.currentTime = Math.max(0, Math.min(seconds, playable));
    show();
  };
  const play = () => player.play().catch(() => {});

  player.addEventListener("play", () => {
    for (const other of document.querySelectorAll("audio")) if (other !== player) other.pause();
    follow();
  });
  for (const name of ["seeked", "timeupdate", "pause", "ended"]) player.addEventListener(name, show);

  stage.addEventListener("click", (event) => {
    const box = drawing.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * drawing.viewBox.baseVal.width;
    const seconds = ((x - left) / (right - left)) * duration;
    if (seconds > playable + 0.1) return; // beyond the listening copy
    seek(seconds);
    play();
  });
  const keys = {
    ArrowRight: () => seek(player.currentTime + 1),
    ArrowUp: () => seek(player.currentTime + 1),
    ArrowLeft: () => seek(player.currentTime - 1),
    ArrowDown: () => seek(player.currentTime - 1),
    PageUp: () => seek(player.currentTime + 10),
    PageDown: () => seek(player.currentTime - 10),
    Home: () => seek(0),
    End: () => seek(playable),
    " ": () => (player.paused ? play() : player.pause()),
  };
  stage.addEventListener("keydown", (event) => {
    if (!Object.hasOwn(keys, event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  for (const button of document.querySelectorAll("button.seek[data-recording='" + stage.id.replace("-stage", "") + "']")) {
    const start = Number(button.dataset.seconds);
    if (start >= playable) {
      button.disabled = true;
      button.title = "beyond the listening copy";
    }
    button.addEventListener("click", () => {
      seek(start);
      play();
      stage.scrollIntoView({ block: "center" });
    });
  }
}

// The hands on the globe: mouse, touch, keyboard and buttons.
(() => {
  const STEP = 60; // px per press of an arrow key

  function pointers(globe, surface) {
    const down = new Map();
    let moved = 0;
    surface.addEventListener('pointerdown', event => {
      if (event.target.closest('button, .callout')) return;
      down.set(event.pointerId, [event.clientX, event.clientY]);
      moved = 0;
      surface.setPointerCapture(event.pointerId);
    });
    surface.addEventListener('pointermove', event => {
      const last = down.get(event.pointerId);
      if (!last) return;
      const [dx, dy] = [event.clientX - last[0], event.clientY - last[1]];
      const other = [...down].find(([id]) => id !== event.pointerId)?.[1];
      down.set(event.pointerId, [event.clientX, event.clientY]);
      moved += Math.hypot(dx, dy);
      if (!other) { globe.pan(dx, dy); return; }
      const box = surface.getBoundingClientRect();
      const before = Math.hypot(last[0] - other[0], last[1] - other[1]);
      const after = Math.hypot(event.clientX - other[0], event.clientY - other[1]);
      globe.zoom(before / Math.max(1, after), (event.clientX + other[0]) / 2 - box.x, (event.clientY + other[1]) / 2 - box.y);
    });
    const up = event => {
      if (down.delete(event.pointerId) && moved < 4) globe.call(null);
    };
    surface.addEventListener('pointerup', up);
    surface.addEventListener('pointercancel', up);
    surface.addEventListener('dblclick', event => {
      const box = surface.getBoundingClientRect();
      globe.zoom(0.5, event.clientX - box.x, event.clientY - box.y);
    });
    surface.addEventListener('wheel', event => {
      const factor = Math.exp(Math.max(-1, Math.min(1, event.deltaY / (event.ctrlKey ? 60 : 260))));
      const box = surface.getBoundingClientRect(), before = globe.view.half;
      globe.zoom(factor, event.clientX - box.x, event.clientY - box.y);
      if (globe.view.half !== before) event.preventDefault(); // at its limits the page scrolls on
    }, { passive: false });
  }

  function keys(globe, canvas) {
    const actions = {
      ArrowLeft: () => globe.pan(STEP, 0), ArrowRight: () => globe.pan(-STEP, 0),
      ArrowUp: () => globe.pan(0, STEP), ArrowDown: () => globe.pan(0, -STEP),
      '+': () => globe.zoom(0.7), '=': () => globe.zoom(0.7), '-': () => globe.zoom(1 / 0.7),
      0: () => globe.fly(globe.home), Escape: () => globe.call(null),
    };
    canvas.addEventListener('keydown', event => {
      const act = actions[event.key];
      if (!act || event.altKey || event.metaKey || event.ctrlKey) return;
      event.preventDefault();
      act();
    });
  }

  /** Brings a globe to life in a Gradio component, whose value is a scene as JSON. */
  gaea.globe = (element, props, watch) => {
    const box = element.querySelector('.globe'), globe = new gaea.Globe(box);
    pointers(globe, box);
    keys(globe, box.querySelector('canvas'));
    const buttons = {
      in: () => globe.zoom(0.6), out: () => globe.zoom(1 / 0.6),
      fit: () => globe.fly(globe.home), world: () => globe.fly({ ...globe.view, half: gaea.WHOLE.half }),
    };
    for (const [name, act] of Object.entries(buttons)) {
      box.querySelector(`[data-act="${name}"]`).addEventListener('click', act);
    }
    gaea.layers(globe, box);
    box.addEventListener('gaea-mark', event => {
      for (const card of document.querySelectorAll('.gallery .card')) {
        card.classList.toggle('lit', card.dataset.number === String(event.detail));
      }
    });
    const show = () => { if (props.value) globe.show(JSON.parse(props.value)); };
    watch('value', show);
    show();
    box.globe = globe;
  };

  /** What the map shows, as "south, west, north, east"; empty where that is half the world. */
  gaea.mapBounds = () => (document.querySelector('.globe')?.globe.bounds() || [])
    .map(value => Math.round(value * 100) / 100).join(', ');
})();

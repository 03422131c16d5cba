// A globe to turn and zoom. Everything on it comes from this server; text from outside only ever becomes text nodes.
(() => {
  const { RAD, unit, wrapped } = gaea;
  const NEAREST_KM = 40, NEAREST_TILED_KM = 1, FARTHEST_KM = 9500; // half the height of the view
  const SVG = 'http://www.w3.org/2000/svg';
  const calm = matchMedia('(prefers-reduced-motion: reduce)');

  const make = (tag, attributes = {}, text = '') => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = text;
    return element;
  };

  class Globe extends gaea.Drawn {
    constructor(box) {
      super(box);
      this.canvas = box.querySelector('canvas');
      this.svg = box.querySelector('svg.regions');
      this.pins = box.querySelector('.pins');
      this.home = { ...this.view };
      this.scene = { regions: [], marks: [] };
      this.background = document.createElement('canvas');
      new ResizeObserver(() => this.draw()).observe(box);
      gaea.imagery().then(found => { this.imagery = found; box.classList.add('ready'); this.draw(); });
      gaea.lines().then(found => { this.levels = found; this.draw(); });
    }

    show(scene) {
      this.svg.replaceChildren();
      this.pins.replaceChildren();
      for (const region of scene.regions) {
        for (const ring of region.rings) {
          const count = ring.flat.length / 2;
          ring.xyz = new Float64Array(3 * count);
          ring.seam = new Uint8Array(count);
          for (let i = 0; i < count; i++) {
            const [lat, lon] = [ring.flat[2 * i], ring.flat[2 * i + 1]];
            ring.xyz.set(unit(lat, lon), 3 * i);
            const along = i > 0 && ((Math.abs(lon) === 180 && ring.flat[2 * i - 1] === lon)
              || (Math.abs(lat) === 90 && ring.flat[2 * i - 2] === lat));
            ring.seam[i] = along ? 1 : 0; // cuts that GeoJSON makes are no borders
          }
        }
        for (const name of ['area', 'edge']) {
          region[name] = document.createElementNS(SVG, 'path');
          region[name].setAttribute('class', `${name} m${region.mass}`);
          this.svg.append(region[name]);
        }
      }
      const glyphs = this.box.querySelector('template.glyphs').content;
      for (const mark of scene.marks) {
        mark.element = make('button', { type: 'button', class: `pin ${mark.kind}`, 'aria-label': mark.title, title: mark.title });
        mark.element.append(glyphs.querySelector(`svg.${mark.kind}`).cloneNode(true));
        if (mark.number) mark.element.append(make('span', { class: 'number', 'aria-hidden': 'true' }, mark.number));
        if (mark.label) mark.element.append(make('span', { class: 'label' }, mark.label));
        mark.element.addEventListener('click', () => this.call(mark));
        this.pins.append(mark.element);
      }
      this.scene = scene;
      this.canvas.setAttribute('aria-label', scene.words);
      this.call(null);
      this.home = scene.view || { ...gaea.WHOLE };
      this.fly(this.home);
    }

    /** Opens the little card of a mark, or closes it. */
    call(mark) {
      const card = this.box.querySelector('.callout');
      card.hidden = mark === null;
      if (mark === null) return;
      card.replaceChildren(...mark.lines.map((line, i) => make(i ? 'p' : 'strong', {}, line)));
      this.box.dispatchEvent(new CustomEvent('gaea-mark', { bubbles: true, detail: mark.number || 0 }));
    }

    // ── moving ───────────────────────────────────────────────────────────

    go(view, moving = true) {
      this.view = {
        lat: Math.max(-89.9, Math.min(89.9, view.lat)), lon: wrapped(view.lon),
        half: Math.max(this.tiles?.on ? NEAREST_TILED_KM : NEAREST_KM, Math.min(FARTHEST_KM, view.half)) };
      this.draw(moving);
    }

    fly(to) {
      cancelAnimationFrame(this.flight);
      if (calm.matches || document.hidden) { this.go(to, false); return; }
      const from = this.view, turn = wrapped(to.lon - from.lon), start = performance.now();
      const rise = Math.log(Math.max(1, Math.min(3.2, 6 * (Math.abs(turn) + Math.abs(to.lat - from.lat)) * 111 / (from.half + to.half) / 4)));
      const step = now => {
        const t = Math.min(1, (now - start) / 1100), ease = t * t * (3 - 2 * t);
        const half = Math.exp(Math.log(from.half) * (1 - ease) + Math.log(to.half) * ease + rise * Math.sin(Math.PI * ease));
        this.go({ lat: from.lat + (to.lat - from.lat) * ease, lon: from.lon + turn * ease, half: t < 1 ? half : to.half }, t < 1);
        if (t < 1) this.flight = requestAnimationFrame(step);
      };
      this.flight = requestAnimationFrame(step);
    }

    zoom(factor, px = this.width / 2, py = this.height / 2) {
      cancelAnimationFrame(this.flight);
      const before = this.at(px, py);
      this.go({ ...this.view, half: this.view.half * factor });
      this.frame();
      const after = this.at(px, py);
      if (before && after) this.go({ ...this.view, lat: this.view.lat + before.lat - after.lat, lon: this.view.lon + wrapped(before.lon - after.lon) });
    }

    pan(dx, dy) {
      cancelAnimationFrame(this.flight);
      const perPx = 1 / this.radius / RAD, squeeze = Math.max(0.2, Math.cos(this.view.lat * RAD));
      this.go({ ...this.view, lat: this.view.lat + dy * perPx, lon: this.view.lon - dx * perPx / squeeze });
    }
  }

  Object.assign(gaea, { Globe, make });
})();

// Map tiles from a server elsewhere: asked for only where `gaea chat --tiles` names one and the switch on the map is on,
// and only for the view that the globe rests at.
(() => {
  const { RAD } = gaea;
  const SIZE = 256; // px of a tile in the mosaic, whatever it has itself
  const DEEPEST = 18, MOST = 64, KEPT = 256; // zoom; tiles of one view; tiles in memory
  const EDGE = 85.0511; // degrees; Web Mercator has no more
  const KM_PER_PX = 156.543; // at zoom 0 on the equator

  class Tiles {
    /** `url` with {z}, {x} and {y}; `changed` is called when a tile has come, or will not; `tell` when none comes. */
    constructor({ url, credit, host }, changed, tell) {
      Object.assign(this, { url, credit, host, changed, tell, on: false, missing: false, kept: new Map(), made: null });
    }

    turn(on) {
      this.on = on;
      for (const [key, tile] of this.kept) if (tile.failed) this.kept.delete(key); // another try
    }

    /** The tiles of a view: zoom, first column and row, how many of each; columns may run over the date line. */
    grid(globe) {
      const [south, west, north, east] = globe.bounds() || [-90, -180, 90, 180];
      const ratio = Math.min(2, devicePixelRatio || 1), km = globe.view.half / globe.height * 2 / ratio;
      const wanted = Math.round(Math.log2(KM_PER_PX * Math.cos(Math.min(EDGE, Math.abs(globe.view.lat)) * RAD) / km));
      for (let z = Math.max(0, Math.min(DEEPEST, wanted)); ; z--) {
        const n = 2 ** z, column = lon => Math.floor((lon + 180) / 360 * n);
        const row = lat => Math.max(0, Math.min(n - 1, Math.floor(
          n * (0.5 - Math.atanh(Math.sin(Math.max(-EDGE, Math.min(EDGE, lat)) * RAD)) / (2 * Math.PI)))));
        const x = column(west), y = row(north);
        const columns = Math.min(n, (column(east) - x + n) % n + 1 || n), rows = row(south) - y + 1;
        const all = west === -180 && east === 180;
        if (!z || (all ? n : columns) * rows <= MOST) return { z, x: all ? 0 : x, y, columns: all ? n : columns, rows };
      }
    }

    tile(z, x, y) {
      const key = `${z}/${x}/${y}`, tile = this.kept.get(key) || { picture: null, failed: false, fresh: true };
      this.kept.delete(key);
      this.kept.set(key, tile); // the last one used is the last one to go
      while (this.kept.size > KEPT) this.kept.delete(this.kept.keys().next().value);
      if (tile.fresh) {
        tile.fresh = false;
        const picture = new Image();
        picture.crossOrigin = 'anonymous'; // its pixels are read, which its server has to allow
        picture.referrerPolicy = 'origin';
        picture.onload = () => { tile.picture = picture; this.changed(); };
        picture.onerror = () => { tile.failed = true; this.changed(); };
        picture.src = this.url.replaceAll('{z}', z).replaceAll('{x}', x).replaceAll('{y}', y);
      }
      return tile;
    }

    /** The tiles of a view as one picture, those that are not there left clear; while things move, the last one. */
    mosaic(globe) {
      if (globe.moving) return this.made;
      const grid = this.grid(globe), { z, x, y, columns, rows } = grid, n = 2 ** z;
      const tiles = Array.from({ length: columns * rows }, (_, i) =>
        this.tile(z, (x + i % columns) % n, y + Math.floor(i / columns)));
      const come = tiles.map(tile => (tile.picture ? 1 : 0)).join('');
      const stamp = [z, x, y, columns, rows, come].join('/');
      const missing = tiles.every(tile => tile.failed);
      if (missing !== this.missing) { this.missing = missing; this.tell(); }
      if (this.made?.stamp === stamp) return this.made;
      const canvas = document.createElement('canvas');
      [canvas.width, canvas.height] = [columns * SIZE, rows * SIZE];
      const context = canvas.getContext('2d', { willReadFrequently: true });
      tiles.forEach(({ picture }, i) => {
        if (picture) context.drawImage(picture, i % columns * SIZE, Math.floor(i / columns) * SIZE, SIZE, SIZE);
      });
      const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
      this.made = { ...grid, n, stamp, whole: !come.includes('0'), width: canvas.width, height: canvas.height,
        pixels: new Uint32Array(data.buffer), byte: data };
      return this.made;
    }

    /** Paints over `target`, RGBA pixels of a view, what the tiles show of it. */
    paint(globe, target, width, height, radius) {
      const made = this.mosaic(globe);
      if (!made) return;
      const { n, x: x0, y: y0, columns, pixels, byte, width: W, height: H } = made;
      const [[ex, ey], [nx, ny, nz], [ox, oy, oz]] = [globe.east, globe.north, globe.out];
      for (let row = 0, at = 0; row < height; row++) {
        const y = (height / 2 - row - 0.5) / radius;
        for (let column = 0; column < width; column++, at++) {
          const x = (column + 0.5 - width / 2) / radius, rest = 1 - x * x - y * y;
          if (rest <= 0) continue;
          const z = Math.sqrt(rest), sin = y * nz + z * oz;
          const v = (n * (0.5 - Math.atanh(sin) / (2 * Math.PI)) - y0) * SIZE;
          if (!(v >= 0 && v < H)) continue;
          const turn = Math.atan2(x * ey + y * ny + z * oy, x * ex + y * nx + z * ox) / (2 * Math.PI) + 0.5;
          let u = turn * n - x0;
          if (u < 0) u += n;
          if (u >= columns) continue;
          u *= SIZE;
          const i = Math.floor(u), j = Math.floor(v), nearest = j * W + i;
          if (!byte[4 * nearest + 3]) continue;
          const right = Math.min(W - 1, i + 1), below = Math.min(H - 1, j + 1), p = u - i, q = v - j;
          const corners = [4 * nearest, 4 * (j * W + right), 4 * (below * W + i), 4 * (below * W + right)];
          if (globe.moving || corners.some(corner => !byte[corner + 3])) { target[at] = pixels[nearest]; continue; }
          const weights = [(1 - p) * (1 - q), p * (1 - q), (1 - p) * q, p * q];
          let [red, green, blue] = [0, 0, 0];
          for (let k = 0; k < 4; k++) {
            red += weights[k] * byte[corners[k]];
            green += weights[k] * byte[corners[k] + 1];
            blue += weights[k] * byte[corners[k] + 2];
          }
          target[at] = 255 << 24 | blue << 16 | green << 8 | red;
        }
      }
    }
  }

  /** The switch on the map, and what it moves. */
  gaea.layers = (globe, box) => {
    if (!gaea.TILES) return;
    const credit = box.querySelector('.credit'), own = credit.textContent;
    const tell = () => {
      credit.textContent = !tiles.on ? own : tiles.missing ? `No tile came from ${tiles.host}` : tiles.credit;
    };
    const tiles = globe.tiles = new Tiles(gaea.TILES, () => globe.draw(), tell);
    const button = gaea.make('button', { type: 'button', class: 'layer', 'aria-pressed': 'false',
      title: `Tiles from ${tiles.host}, which learns what part of the map you look at` }, 'Online map');
    button.addEventListener('click', () => {
      tiles.turn(!tiles.on);
      button.setAttribute('aria-pressed', tiles.on);
      tell();
      globe.go(globe.view, false);
    });
    box.append(button);
  };
})();

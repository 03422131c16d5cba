// What the Earth looks like, fetched once from this server: imagery as pixels, coastlines and borders as unit vectors.
(() => {
  const GAP = -32768; // a latitude that no place has parts one line from the next
  const PIECE = 64; // points per piece of a line; pieces out of sight are skipped whole
  let imagery = null;
  let lines = null;

  async function decode(url) {
    const answer = await fetch(url);
    if (!answer.ok) return null;
    const bitmap = await createImageBitmap(await answer.blob());
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
    const context = canvas.getContext('2d', { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    const { data, width, height } = context.getImageData(0, 0, bitmap.width, bitmap.height);
    return { pixels: new Uint32Array(data.buffer), width, height };
  }

  /** Cuts one line set, int16 latitudes and longitudes, into pieces with a middle and a reach each. */
  function pieces(lat, lon) {
    const found = [];
    let start = 0;
    const close = end => {
      for (let from = start; from < end - 1; from += PIECE - 1) {
        const count = Math.min(PIECE, end - from);
        const xyz = new Float32Array(3 * count);
        const middle = [0, 0, 0];
        for (let i = 0; i < count; i++) {
          const phi = lat[from + i] / 32767 * Math.PI / 2, lambda = lon[from + i] / 32767 * Math.PI;
          xyz[3 * i] = Math.cos(phi) * Math.cos(lambda);
          xyz[3 * i + 1] = Math.cos(phi) * Math.sin(lambda);
          xyz[3 * i + 2] = Math.sin(phi);
          for (let axis = 0; axis < 3; axis++) middle[axis] += xyz[3 * i + axis];
        }
        const norm = Math.hypot(...middle) || 1;
        for (let axis = 0; axis < 3; axis++) middle[axis] /= norm;
        let least = 1;
        for (let i = 0; i < count; i++) {
          least = Math.min(least, xyz[3 * i] * middle[0] + xyz[3 * i + 1] * middle[1] + xyz[3 * i + 2] * middle[2]);
        }
        found.push({ xyz, middle, reach: Math.acos(Math.max(-1, Math.min(1, least))) });
      }
    };
    for (let i = 0; i <= lat.length; i++) {
      if (i === lat.length || lat[i] === GAP) { close(i); start = i + 1; }
    }
    return found;
  }

  async function decodeLines(url) {
    const answer = await fetch(url);
    if (!answer.ok) return [];
    const buffer = await answer.arrayBuffer();
    const levels = [];
    for (let at = 0; at + 4 <= buffer.byteLength;) {
      const count = new Uint32Array(buffer, at, 1)[0];
      const lat = new Int16Array(buffer, at + 4, count), lon = new Int16Array(buffer, at + 4 + 2 * count, count);
      levels.push(pieces(lat, lon));
      at += 4 + 4 * count;
    }
    // Coast and borders in turn, from crude to fine.
    return Array.from({ length: levels.length / 2 }, (_, i) => ({ coast: levels[2 * i], border: levels[2 * i + 1] }));
  }

  window.gaea = Object.assign(window.gaea || {}, {
    imagery: () => imagery ??= decode(`gaea/earth-${innerWidth * devicePixelRatio < 900 ? 2048 : 4096}.jpg`).catch(() => null),
    lines: () => lines ??= decodeLines('gaea/lines.bin').catch(() => []),
  });
})();

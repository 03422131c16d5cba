// How the globe looks: sky, imagery, coastlines, regions, marks and scale. See globe.js for where things are.
(() => {
  const { unit, wrapped } = gaea;

  class Drawn extends gaea.Sphere {

    /** Draws soon: coarsely while things move, finely once they rest. */
    draw(moving = false) {
      this.moving = moving;
      this.pending ??= requestAnimationFrame(() => {
        this.pending = null;
        if (!this.frame()) return;
        const ratio = Math.min(2, devicePixelRatio || 1);
        [this.canvas.width, this.canvas.height] = [this.width * ratio, this.height * ratio];
        const context = this.canvas.getContext('2d');
        context.setTransform(ratio, 0, 0, ratio, 0, 0);
        this.drawSky(context);
        this.drawImagery(context, this.moving ? 0.5 : ratio);
        this.drawLines(context);
        this.drawRegions();
        this.placePins();
        this.drawScale();
        clearTimeout(this.settle);
        if (this.moving) this.settle = setTimeout(() => this.draw(), 140);
      });
    }

    drawSky(context) {
      const [x, y, r] = [this.width / 2, this.height / 2, this.radius];
      context.clearRect(0, 0, this.width, this.height);
      if (r > Math.hypot(x, y)) return;
      const glow = context.createRadialGradient(x, y, r * 0.98, x, y, r * 1.12);
      glow.addColorStop(0, 'rgba(120,190,255,.55)');
      glow.addColorStop(0.35, 'rgba(90,160,240,.16)');
      glow.addColorStop(1, 'rgba(90,160,240,0)');
      context.fillStyle = glow;
      context.fillRect(0, 0, this.width, this.height);
      context.beginPath();
      context.arc(x, y, r, 0, 2 * Math.PI);
      context.fillStyle = '#16324f';
      context.fill();
    }

    drawImagery(context, ratio) {
      if (!this.imagery) return;
      const width = Math.ceil(this.width * ratio), height = Math.ceil(this.height * ratio);
      const back = this.background.getContext('2d');
      [this.background.width, this.background.height] = [width, height];
      const image = back.createImageData(width, height);
      const target = new Uint32Array(image.data.buffer);
      this.fillPixels(target, width, height, this.radius * ratio, ratio >= 1);
      if (this.tiles?.on) this.tiles.paint(this, target, width, height, this.radius * ratio);
      back.putImageData(image, 0, 0);
      context.drawImage(this.background, 0, 0, this.width, this.height);
    }

    fillPixels(target, width, height, radius, smooth) {
      const { pixels, width: W, height: H } = this.imagery;
      const [[ex, ey], [nx, ny, nz], [ox, oy, oz]] = [this.east, this.north, this.out];
      const byte = new Uint8Array(pixels.buffer);
      for (let row = 0, at = 0; row < height; row++) {
        const y = (height / 2 - row - 0.5) / radius;
        for (let column = 0; column < width; column++, at++) {
          const x = (column + 0.5 - width / 2) / radius, rest = 1 - x * x - y * y;
          if (rest <= 0) continue;
          const z = Math.sqrt(rest);
          const u = (Math.atan2(x * ey + y * ny + z * oy, x * ex + y * nx + z * ox) / Math.PI + 1) / 2 * W - 0.5;
          const v = (0.5 - Math.asin(Math.max(-1, Math.min(1, y * nz + z * oz))) / Math.PI) * H - 0.5;
          const left = Math.floor(u), top = Math.floor(v), i = (left + W) % W, j = top < 0 ? 0 : top;
          if (!smooth) { target[at] = pixels[j * W + i]; continue; }
          const p = u - left, q = v - top, next = (i + 1) % W, below = j + 1 < H ? j + 1 : j;
          const a = 4 * (j * W + i), b = 4 * (j * W + next), c = 4 * (below * W + i), d = 4 * (below * W + next);
          const wa = (1 - p) * (1 - q), wb = p * (1 - q), wc = (1 - p) * q, wd = p * q;
          const red = byte[a] * wa + byte[b] * wb + byte[c] * wc + byte[d] * wd;
          const green = byte[a + 1] * wa + byte[b + 1] * wb + byte[c + 1] * wc + byte[d + 1] * wd;
          const blue = byte[a + 2] * wa + byte[b + 2] * wb + byte[c + 2] * wc + byte[d + 2] * wd;
          target[at] = 255 << 24 | blue << 16 | green << 8 | red;
        }
      }
    }

    drawLines(context) {
      if (!this.levels?.length || (this.tiles?.on && this.tiles.made?.whole)) return; // such tiles have lines of their own
      const km = this.view.half / this.height * 2; // per pixel
      const level = this.levels[Math.min(this.levels.length - 1, km > 9 ? 0 : km > 2.5 ? 1 : 2)];
      const ink = km > 9 ? 0.45 : 0.7; // fine lines would crowd a small globe
      for (const [name, strength, dash] of [['coast', ink, []], ['border', 0.7 * ink, [5, 4]]]) {
        context.beginPath();
        for (const { xyz, middle, reach } of level[name]) {
          const away = Math.acos(Math.max(-1, Math.min(1, middle.reduce((sum, v, i) => sum + v * this.out[i], 0))));
          if (away > this.sight + reach) continue;
          let drawing = false;
          for (let i = 0; i < xyz.length; i += 3) {
            const [x, y, depth] = this.project(xyz[i], xyz[i + 1], xyz[i + 2]);
            if (depth < 0) drawing = false;
            else if (drawing) context.lineTo(x, y);
            else { context.moveTo(x, y); drawing = true; }
          }
        }
        context.strokeStyle = `rgba(255,255,255,${strength})`;
        context.lineWidth = 1;
        context.setLineDash(dash);
        context.stroke();
      }
      context.setLineDash([]);
    }

    drawRegions() {
      this.svg.setAttribute('viewBox', `0 0 ${this.width} ${this.height}`);
      for (const region of this.scene.regions) {
        region.area.setAttribute('d', this.areaPath(region));
        region.edge.setAttribute('d', region.rings.map(ring => this.edgePath(ring)).join(''));
      }
    }

    /** What is behind the globe is drawn along its rim, which leaves the visible side as it is. */
    areaPath({ rings }) {
      const [cx, cy, r] = [this.width / 2, this.height / 2, this.radius];
      const rim = `M${cx - r} ${cy}A${r} ${r} 0 1 0 ${cx + r} ${cy}A${r} ${r} 0 1 0 ${cx - r} ${cy}Z`;
      let path = this.holds(rings, -this.view.lat, wrapped(this.view.lon + 180)) ? rim : '';
      for (const { xyz } of rings) {
        let hidden = false, seen = false, part = '';
        for (let i = 0; i < xyz.length; i += 3) {
          let [x, y, depth] = this.project(xyz[i], xyz[i + 1], xyz[i + 2]);
          const behind = depth < 0;
          if (behind) {
            const stretch = r / (Math.hypot(x - cx, y - cy) || 1);
            x = cx + (x - cx) * stretch; y = cy + (y - cy) * stretch;
          }
          const turn = part && behind && hidden; // along the rim, the shorter way
          const sweep = turn && (this.lastX - cx) * (y - cy) - (this.lastY - cy) * (x - cx) > 0 ? 1 : 0;
          part += (part ? (turn ? `A${r} ${r} 0 0 ${sweep} ` : 'L') : 'M') + `${x.toFixed(1)} ${y.toFixed(1)}`;
          [this.lastX, this.lastY, hidden, seen] = [x, y, behind, seen || !behind];
        }
        path += part + 'Z';
      }
      return path;
    }

    edgePath({ xyz, seam }) {
      let path = '', drawing = false;
      for (let i = 0; i < xyz.length; i += 3) {
        const [x, y, depth] = this.project(xyz[i], xyz[i + 1], xyz[i + 2]);
        if (depth < 0) { drawing = false; continue; }
        path += (drawing && !seam[i / 3] ? 'L' : 'M') + `${x.toFixed(1)} ${y.toFixed(1)}`;
        drawing = true;
      }
      return path;
    }

    /** Whether a place lies in the rings, counted on the flat map that GeoJSON is drawn on. */
    holds(rings, lat, lon) {
      let inside = false;
      for (const { flat } of rings) {
        for (let i = 0; i + 3 < flat.length; i += 2) {
          const [aLat, aLon, bLat, bLon] = [flat[i], flat[i + 1], flat[i + 2], flat[i + 3]];
          if ((aLat > lat) !== (bLat > lat) && aLon + (lat - aLat) / (bLat - aLat) * (bLon - aLon) > lon) inside = !inside;
        }
      }
      return inside;
    }

    placePins() {
      for (const { lat, lon, element } of this.scene.marks) {
        const [x, y, depth] = this.project(...unit(lat, lon));
        element.hidden = depth < 0 || x < -20 || y < -20 || x > this.width + 20 || y > this.height + 20;
        element.style.transform = `translate(${x.toFixed(1)}px,${y.toFixed(1)}px)`;
        element.classList.toggle('leftward', x > 0.7 * this.width);
      }
    }

    drawScale() {
      const bar = this.box.querySelector('.scale'), most = 0.25 * this.width * this.view.half / this.height * 2;
      const power = 10 ** Math.floor(Math.log10(most));
      const length = [5, 2, 1].map(step => step * power).find(step => step <= most);
      bar.style.width = `${length / this.view.half * this.height / 2}px`;
      bar.textContent = `${length.toLocaleString('en')} km`;
      bar.hidden = this.view.half > 4500; // a globe has no one scale
    }
  }

  gaea.Drawn = Drawn;
})();

// Where things are on an orthographic globe, north up: from places to pixels and back.
(() => {
  const RAD = Math.PI / 180, EARTH_KM = 6371.0088;
  const wrapped = lon => ((lon + 180) % 360 + 360) % 360 - 180;
  const unit = (lat, lon) => [
    Math.cos(lat * RAD) * Math.cos(lon * RAD), Math.cos(lat * RAD) * Math.sin(lon * RAD), Math.sin(lat * RAD)];

  /** A view of the globe: `lat` and `lon` in the middle, and `half` km from there to the upper edge. */
  class Sphere {
    constructor(box) {
      this.box = box;
      this.view = { ...gaea.WHOLE };
    }

    /** Takes measure of the box; false while it has no size. */
    frame() {
      const { clientWidth: width, clientHeight: height } = this.box;
      const { lat, lon, half } = this.view;
      const [sin, cos] = [Math.sin(lat * RAD), Math.cos(lat * RAD)];
      const [sinLon, cosLon] = [Math.sin(lon * RAD), Math.cos(lon * RAD)];
      this.width = width; this.height = height;
      this.radius = height / 2 * EARTH_KM / half;
      this.out = [cos * cosLon, cos * sinLon, sin]; // towards the viewer
      this.east = [-sinLon, cosLon, 0];
      this.north = [-sin * cosLon, -sin * sinLon, cos];
      this.sight = Math.asin(Math.min(1, Math.hypot(width, height) / 2 / this.radius));
      return width > 0 && height > 0;
    }

    project(x, y, z) {
      const [o, e, n] = [this.out, this.east, this.north];
      return [
        this.width / 2 + this.radius * (x * e[0] + y * e[1] + z * e[2]),
        this.height / 2 - this.radius * (x * n[0] + y * n[1] + z * n[2]),
        x * o[0] + y * o[1] + z * o[2]];
    }

    /** Latitude and longitude of a pixel, or null beside the globe. */
    at(px, py) {
      const x = (px - this.width / 2) / this.radius, y = (this.height / 2 - py) / this.radius;
      const rest = 1 - x * x - y * y;
      if (rest < 0) return null;
      const z = Math.sqrt(rest), v = [0, 1, 2].map(i => x * this.east[i] + y * this.north[i] + z * this.out[i]);
      return { lat: Math.asin(Math.max(-1, Math.min(1, v[2]))) / RAD, lon: Math.atan2(v[1], v[0]) / RAD };
    }

    /** South, west, north, east of what is seen; null where that is half the world. */
    bounds() {
      const seen = [];
      for (let i = 0; i <= 20; i++) {
        for (const [x, y] of [[i, 0], [i, 20], [0, i], [20, i]]) {
          const place = this.at(x / 20 * this.width, y / 20 * this.height);
          if (place === null) return null;
          seen.push([place.lat, wrapped(place.lon - this.view.lon)]);
        }
      }
      const lats = seen.map(place => place[0]), lons = seen.map(place => place[1]);
      if (Math.max(...lons) - Math.min(...lons) > 180) return null;
      return [Math.min(...lats), wrapped(Math.min(...lons) + this.view.lon),
        Math.max(...lats), wrapped(Math.max(...lons) + this.view.lon)];
    }
  }

  Object.assign(gaea, { RAD, unit, wrapped, Sphere, WHOLE: { lat: 15, lon: 10, half: 7600 } });
})();

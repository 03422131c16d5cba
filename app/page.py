"""How a page of answers looks and moves: its style sheet, its script, and the frame that forbids the network.

The script only zooms and pans; the page says everything without it. It is allowed by its hash, so that nothing that
came from outside can run even if it slipped past escaping.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape

STYLE = """
:root{color-scheme:light dark;--ink:#16202a;--soft:#5b6875;--line:#dde3e8;--paper:#f6f7f5;--card:#fff;--accent:#0b6e6e;
--point:#ff4b3a;--m50:#ffd23f;--similar:#27c2f5;--dissimilar:#e0369b;--alternative:#ff9f1c;--claim:#fff;--fact:#9ad17b}
@media(prefers-color-scheme:dark){:root{--ink:#e8edf0;--soft:#97a5b0;--line:#27323b;--paper:#0e1419;--card:#161e25;
--accent:#54c7bd}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 ui-sans-serif,system-ui,-apple-system,"Segoe UI",
Roboto,"Helvetica Neue","DejaVu Sans",sans-serif;-webkit-text-size-adjust:100%}
main{max-width:1120px;margin:0 auto;padding:28px 20px 56px}
header.top{display:flex;align-items:baseline;justify-content:space-between;gap:16px;margin-bottom:22px;
color:var(--soft);font-size:14px}
.brand{font-weight:700;letter-spacing:.22em;color:var(--accent)}
h1{font:600 clamp(28px,4.6vw,46px)/1.1 ui-serif,"Iowan Old Style",Palatino,Georgia,"DejaVu Serif",serif;margin:0 0 10px;
letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:13px;letter-spacing:.12em;text-transform:uppercase;color:var(--soft);margin:40px 0 12px;font-weight:600}
.hero{display:grid;grid-template-columns:minmax(0,5fr) minmax(0,7fr);gap:32px;align-items:start}
figure{margin:0}figcaption,.note{color:var(--soft);font-size:13.5px;margin:8px 0 0;overflow-wrap:anywhere}
.photo img{display:block;width:100%;height:auto;max-height:620px;object-fit:contain;
border-radius:10px;background:var(--line)}
.where{font-size:17px;margin:0;font-variant-numeric:tabular-nums}
.sure{display:flex;gap:6px;margin:20px 0 8px;max-width:460px}
.sure span{flex:1;border-top:5px solid var(--line);padding-top:5px;font-size:13px;color:var(--soft)}
.sure .on{border-color:var(--accent);color:var(--ink);font-weight:600}
dl.numbers{display:grid;grid-template-columns:repeat(auto-fit,minmax(142px,1fr));gap:14px 18px;margin:18px 0 0}
dt{font-size:13px;color:var(--soft)}dd{margin:0;font-size:19px;font-variant-numeric:tabular-nums;font-weight:600;white-space:nowrap}
.claim-box{border-left:4px solid var(--alternative);background:var(--card);border-radius:0 8px 8px 0;padding:12px 16px;
margin-top:20px;font-size:15px;overflow-wrap:anywhere}
.claim-box p{margin:0 0 4px}.claim-box p:last-child{margin:0}
.talk{display:grid;gap:10px;max-width:820px}
.talk p{margin:0;padding:10px 16px;border-radius:16px;white-space:pre-line;overflow-wrap:anywhere}
.talk .q{justify-self:end;background:var(--accent);color:#fff;border-bottom-right-radius:4px}
@media(prefers-color-scheme:dark){.talk .q{color:#06201e}}
.talk .a{justify-self:start;background:var(--card);border:1px solid var(--line);border-bottom-left-radius:4px}
.talk small{display:block;color:var(--soft);font-size:13px;margin-top:4px}
.map-box{position:relative}
svg.map{display:block;width:100%;height:auto;border-radius:10px;background:#0b1a2b;overflow:hidden;touch-action:pan-y}
.sea{fill:#16324f}.coast,.border,.graticule,.frame,.edge{fill:none;vector-effect:non-scaling-stroke}
.coast{stroke:#fff;stroke-opacity:.75;stroke-width:1.1}
.border{stroke:#fff;stroke-opacity:.55;stroke-width:1;stroke-dasharray:5 4}
.graticule{stroke:#fff;stroke-opacity:.2;stroke-width:.8}
.frame{stroke:#fff;stroke-width:1.4}
.area.m90{fill:var(--m50);fill-opacity:.17}.area.m50{fill:var(--m50);fill-opacity:.36}
.edge.m90{stroke:var(--m50);stroke-width:1.3;stroke-opacity:.9}.edge.m50{stroke:var(--m50);stroke-width:1.6}
svg text{font:600 13px ui-sans-serif,system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:#fff;
paint-order:stroke;stroke:#0b1a2b;stroke-opacity:.75;stroke-width:3px;stroke-linejoin:round}
svg text.tick{font-weight:500;font-size:11.5px;fill-opacity:.85}svg text.label{font-size:16px}
svg text.number{font-size:10.5px;font-weight:700;text-anchor:middle;fill:#10202c;stroke:none}
.glyph{transform:scale(var(--k,1))}.world .glyph{transform:scale(calc(var(--k,1)*.78))}
.dot{stroke:#fff;stroke-width:1.6;paint-order:stroke}.halo{fill:#fff;fill-opacity:.25;stroke:#fff;stroke-width:1.6}
.point .dot{fill:var(--point)}.similar .dot{fill:var(--similar)}.dissimilar .dot{fill:var(--dissimilar)}
.alternative .dot{fill:var(--alternative)}.claim .dot{fill:var(--claim);stroke:#111;stroke-width:2.4}
.fact .dot,.token .dot{fill:var(--fact)}.dissimilar .number{fill:#fff}
.scale path{fill:none;stroke:#fff;stroke-width:2.4}
.zoom{position:absolute;top:12px;right:12px;display:grid;gap:6px}
.zoom button{width:34px;height:34px;border:0;border-radius:8px;background:rgba(14,20,25,.78);color:#fff;
font-size:22px;line-height:1;cursor:pointer}
.legend{display:flex;flex-wrap:wrap;gap:6px 20px;margin:12px 0 0;padding:0;list-style:none;font-size:14px}
.legend li{display:flex;align-items:center;gap:8px}
.legend svg,td svg{width:22px;height:22px;flex:none;overflow:visible;vertical-align:middle}
.legend svg .dot,td svg .dot{stroke:var(--soft)}
svg text.number{paint-order:normal}
.patch{width:20px;height:14px;border:1.6px solid #c79a00;background:rgba(255,210,63,.3)}.patch.m50{
background:rgba(255,210,63,.75)}
.bars{display:grid;gap:8px;max-width:640px;margin:0;padding:0;list-style:none}
.bars li{display:grid;grid-template-columns:minmax(0,1fr) 54px;gap:12px}
.bars div{position:relative;padding:4px 12px;border-radius:6px;background:var(--card);overflow:hidden}
.bars i{position:absolute;inset:0 auto 0 0;background:var(--alternative);opacity:.3}.bars b{position:relative;
font-weight:500}
.bars span,td.n{font-variant-numeric:tabular-nums;text-align:right;white-space:nowrap}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:14.5px}
th{font-weight:600;text-align:left;color:var(--soft);font-size:13px}th.n{text-align:right}
th,td{padding:8px 10px;border-bottom:1px solid var(--line);vertical-align:top}
td{overflow-wrap:anywhere}td:first-child,th:first-child{padding-left:0}
a{color:var(--accent)}
.facts{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:4px 20px;font-size:14px}
.facts dt{font-size:14px}.facts dd{font-size:14px;font-weight:400;white-space:normal;overflow-wrap:anywhere}
.two{display:grid;grid-template-columns:1fr 1fr;gap:0 40px}
@media(max-width:760px){main{padding:18px 14px 40px}.hero,.two{grid-template-columns:minmax(0,1fr)}
.hero{gap:20px}dd{font-size:17px}
svg.close text.tick{font-size:18px}svg.map text.label{font-size:24px}.glyph{transform:scale(calc(
var(--k,1)*1.6))}.scale text{font-size:22px}td.wide,th.wide,td.kind,th.kind{display:none}}
@media print{.zoom{display:none}body{background:#fff}}
"""

SCRIPT = """
for (const svg of document.querySelectorAll('svg.map')) {
  const [, , W, H] = svg.getAttribute('viewBox').split(' ').map(Number);
  let x = 0, y = 0, k = 1, drag = null;
  const show = () => {
    k = Math.min(1, Math.max(1 / 16, k));
    x = Math.min(W * (1 - k), Math.max(0, x));
    y = Math.min(H * (1 - k), Math.max(0, y));
    svg.setAttribute('viewBox', [x, y, W * k, H * k].join(' '));
    svg.style.setProperty('--k', k);
    svg.style.touchAction = k < 1 ? 'none' : 'pan-y';
  };
  const zoom = (factor, u = 0.5, v = 0.5) => {
    const next = Math.min(1, Math.max(1 / 16, k * factor));
    x += (k - next) * W * u; y += (k - next) * H * v; k = next; show();
  };
  svg.addEventListener('wheel', event => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const box = svg.getBoundingClientRect();
    zoom(event.deltaY > 0 ? 1.25 : 0.8, (event.clientX - box.x) / box.width, (event.clientY - box.y) / box.height);
  }, { passive: false });
  svg.addEventListener('pointerdown', event => {
    if (k === 1) return;
    drag = [event.clientX, event.clientY]; svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener('pointermove', event => {
    if (!drag) return;
    const scale = W * k / svg.getBoundingClientRect().width;
    x -= (event.clientX - drag[0]) * scale; y -= (event.clientY - drag[1]) * scale;
    drag = [event.clientX, event.clientY]; show();
  });
  svg.addEventListener('pointerup', () => { drag = null; });
  const bar = document.createElement('div');
  bar.className = 'zoom';
  for (const [sign, words, act] of [['+', 'Zoom in', () => zoom(0.6)], ['\\u2212', 'Zoom out', () => zoom(1 / 0.6)]]) {
    const button = document.createElement('button');
    button.textContent = sign; button.ariaLabel = words; button.onclick = act; bar.append(button);
  }
  svg.parentNode.append(bar);
}
"""


def document(title: str, body: str) -> str:
    """A whole HTML document around ``body``, which must already be escaped; ``title`` is escaped here."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )

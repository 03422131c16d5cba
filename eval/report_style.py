"""How a report looks: its style sheet, and the frame that forbids the network. There is no script on the page."""

from __future__ import annotations

from html import escape

STYLE = """
:root{color-scheme:light dark;--ink:#16202a;--soft:#566471;--line:#dde3e8;--faint:#eef1f3;--paper:#f6f7f5;--card:#fff;
--accent:#0b6e6e;--bar:#0b6e6e;--mark:#e9f3f1;--good:#18794e;--bad:#b3261e;
--s0:#0b6e6e;--s1:#c2570c;--s2:#3457b8;--s3:#8c3fa8;--s4:#a11d4f;--s5:#5d6b14;--s6:#6b4a2b;--s7:#59636e;
--e0:#fff3a3;--e1:#ffd23f;--e2:#ff9f1c;--e3:#f4543c;--e4:#c2266f;--e5:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e8edf0;--soft:#9fadb8;--line:#2a3640;--faint:#1b242c;--paper:#0e1419;
--card:#151d24;--accent:#54c7bd;--bar:#54c7bd;--mark:#17302f;--good:#5fd3a0;--bad:#ff8a80;
--s0:#54c7bd;--s1:#ff9d5c;--s2:#8fb0ff;--s3:#d79af0;--s4:#ff8ab5;--s5:#c3d36b;--s6:#d3ab84;--s7:#aab6c0}}
*{box-sizing:border-box}html{scroll-behavior:smooth}
@media(prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 ui-sans-serif,system-ui,-apple-system,"Segoe UI",
Roboto,"Helvetica Neue","DejaVu Sans",sans-serif;-webkit-text-size-adjust:100%}
main{max-width:1180px;margin:0 auto;padding:28px 20px 64px}
.skip{position:absolute;left:-999px}.skip:focus{left:12px;top:12px;background:var(--card);padding:8px 12px}
header.top{display:flex;align-items:baseline;justify-content:space-between;gap:16px;color:var(--soft);font-size:14px}
.brand{font-weight:700;letter-spacing:.22em;color:var(--accent)}
h1,h2{font-family:ui-serif,"Iowan Old Style",Palatino,Georgia,"DejaVu Serif",serif;letter-spacing:-.01em;
overflow-wrap:anywhere;line-height:1.12;font-weight:600}
h1{font-size:clamp(30px,5vw,50px);margin:26px 0 6px}h2{font-size:clamp(25px,3.4vw,36px);margin:64px 0 6px}
h3{font-size:13px;letter-spacing:.12em;text-transform:uppercase;color:var(--soft);margin:44px 0 12px;font-weight:600}
.lead{color:var(--soft);font-size:17px;margin:0;max-width:760px}
.identity{color:var(--soft);font-size:14.5px;margin:16px 0 0;overflow-wrap:anywhere}
.contract{border-left:4px solid var(--accent);background:var(--card);border-radius:0 10px 10px 0;padding:14px 18px;
margin:24px 0 0;font-size:14.5px}
.contract p{margin:0}.contract b{display:block;font-size:13px;letter-spacing:.1em;text-transform:uppercase;
color:var(--accent);margin-bottom:4px}
nav ul{display:flex;flex-wrap:wrap;gap:6px 18px;padding:0;margin:22px 0 0;list-style:none;font-size:14.5px}
a{color:var(--accent);text-underline-offset:3px}
a:focus-visible,summary:focus-visible,.scroll:focus-visible{outline:3px solid var(--accent);outline-offset:3px;
border-radius:4px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:14px;margin:26px 0 0;padding:0}
.cards div{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:14px 16px}
.cards dt{color:var(--soft);font-size:13.5px}.cards dd{margin:2px 0 0;font-size:27px;font-weight:650;line-height:1.2;
font-variant-numeric:tabular-nums}
.cards dd small{display:block;font-size:13px;font-weight:400;color:var(--soft);margin-top:2px}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:12px;margin:0 0 10px}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:650;font-size:15.5px;padding:14px 16px 6px}
th,td{padding:8px 12px;text-align:right;vertical-align:top;border-top:1px solid var(--line);white-space:nowrap}
thead th{color:var(--soft);font-weight:600;font-size:12.5px;border-top:0;vertical-align:bottom;white-space:normal}
th:first-child,td.text,th.text{text-align:left;white-space:normal;overflow-wrap:anywhere}
th:first-child{padding-left:16px;min-width:132px}
tbody th{font-weight:500;position:sticky;left:0;background:var(--card)}tr.first th{background:var(--mark)}
tr.first{background:var(--mark)}tr.first th{font-weight:650}
td small{color:var(--soft);display:block;font-size:12px}
.range{display:block;width:100%;min-width:74px;max-width:150px;margin-left:auto;height:7px;margin-top:4px;overflow:visible}
.range path{stroke:var(--line);stroke-width:1;vector-effect:non-scaling-stroke}
.range .span{stroke:var(--bar);stroke-width:4;opacity:.32}.range .dot{stroke:var(--bar);stroke-width:7;
stroke-linecap:round}
.note{color:var(--soft);font-size:13.5px;margin:0 0 22px;max-width:880px}
.real{color:var(--good);font-weight:650}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:18px;margin:18px 0}
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:12px;padding:14px 16px;min-width:0}
figcaption{font-weight:650;font-size:15.5px;margin-bottom:8px}
figure>svg{display:block;width:100%;height:auto}
.map>svg{border-radius:8px;background:#10263c}.map{margin:18px 0}
.chart text{font:12px ui-sans-serif,system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:var(--soft)}
.chart text.axis-title{font-size:12.5px;fill:var(--ink)}.middle{text-anchor:middle}.end{text-anchor:end}
.axis{fill:none;stroke:var(--soft);stroke-width:1}.grid{fill:none;stroke:var(--line);stroke-width:1}
.guide{fill:none;stroke:var(--soft);stroke-width:1;stroke-dasharray:2 4}
.line{fill:none;stroke:currentColor;stroke-width:2;stroke-linejoin:round}.bar{fill:none;stroke:currentColor;
stroke-width:1.4;opacity:.5}.mark{fill:var(--card);stroke:currentColor;stroke-width:1.8}
.s0{color:var(--s0)}.s0 .line{stroke-width:2.8}.s0 .mark{fill:currentColor}
.s1{color:var(--s1)}.s1 .line{stroke-dasharray:9 3}.s2{color:var(--s2)}.s2 .line{stroke-dasharray:2 3}
.s3{color:var(--s3)}.s3 .line{stroke-dasharray:9 3 2 3}.s4{color:var(--s4)}.s4 .line{stroke-dasharray:14 4}
.s5{color:var(--s5)}.s5 .line{stroke-dasharray:5 5}.s6{color:var(--s6)}.s6 .line{stroke-dasharray:1 4}
.s7{color:var(--s7)}.s7 .line{stroke-dasharray:12 3 1 3 1 3}
.keys{display:flex;flex-wrap:wrap;gap:4px 18px;list-style:none;padding:0;margin:10px 0 0;font-size:13.5px}
.keys li{display:flex;align-items:center;gap:7px;min-width:0;overflow-wrap:anywhere}
.keys svg{width:34px;height:14px;flex:none;overflow:visible}.map .keys svg{width:16px;height:16px;background:#10263c;
border-radius:4px}
.sea{fill:#16324f}.earth{opacity:.62}.graticule{fill:none;stroke:#fff;stroke-opacity:.13;stroke-width:.7}
.arc{fill:none;stroke-width:1;opacity:.42}.dot{stroke:#10202c;stroke-width:.8}
.dot.e0{fill:var(--e0)}.dot.e1{fill:var(--e1)}.dot.e2{fill:var(--e2)}.dot.e3{fill:var(--e3)}.dot.e4{fill:var(--e4)}
path.dot.e5{fill:none;stroke:var(--e5);stroke-width:1.8}
.arc.e0{stroke:var(--e0)}.arc.e1{stroke:var(--e1)}.arc.e2{stroke:var(--e2)}.arc.e3{stroke:var(--e3)}.arc.e4{
stroke:var(--e4)}
.cases{display:grid;grid-template-columns:repeat(auto-fill,minmax(250px,1fr));gap:16px;padding:0;margin:0;
list-style:none}
.cases li{background:var(--card);border:1px solid var(--line);border-radius:12px;overflow:hidden;font-size:14px}
.cases img{display:block;width:100%;height:176px;object-fit:cover;background:var(--line)}
.cases .none{display:grid;place-items:center;height:96px;background:var(--faint);color:var(--soft);font-size:13px}
.cases div.body{padding:12px 14px}.cases strong{font-size:19px;font-variant-numeric:tabular-nums}
.cases p{margin:4px 0 0;overflow-wrap:anywhere}.cases .id{color:var(--soft);font-size:13px}
.cases q{quotes:none;display:block;border-left:3px solid var(--line);padding-left:9px;margin-top:4px}
details{margin:8px 0}summary{cursor:pointer;font-weight:600;padding:6px 0}details[open]>summary{margin-bottom:8px}
dl.facts{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:4px 20px;font-size:14px;margin:8px 0}
dl.facts dt{color:var(--soft)}dl.facts dd{margin:0;overflow-wrap:anywhere}
code{font:13px ui-monospace,SFMono-Regular,Menlo,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
footer{margin-top:64px;color:var(--soft);font-size:13.5px;border-top:1px solid var(--line);padding-top:16px}
@media(max-width:640px){.chart text,.chart text.axis-title{font-size:15px}
main{padding:18px 14px 40px}.cards dd{font-size:23px}dl.facts{grid-template-columns:1fr}
dl.facts dd{margin-bottom:6px}}
@media print{body{background:#fff}.scroll,figure,.cases li,.cards div{break-inside:avoid}}
"""


def document(title: str, body: str) -> str:
    """A whole HTML document around ``body``, which must already be escaped; ``title`` is escaped here."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<a class="skip" href="#tables">Skip to the tables</a>\n<main>\n{body}\n</main>\n</body>\n</html>\n'
    )

"""The review page over photos in a folder, with places that need no model: ``review.py FOLDER PORT``."""

import sys

from gaea import cells as s2
from gaea.answer import Answer, Confidence, Evidence, Place, Point
from gaea.app import review
from gaea.app.listing import photos
from gaea.belief import Belief

CELLS = s2.cover_cap(45.9, 6.9, 60.0, max_level=9)
BELIEF = Belief.from_weights(CELLS, s2.area_km2(CELLS))
HOSTILE = "<img src=x onerror=\"window.pwned='caption'\"> <script>window.pwned='caption'</script>"
ANSWER = Answer(
    question="Where is this?",
    text="",
    point=Point(45.9237, 6.8694),
    radius_km={50: 20.0, 90: 55.0},
    region={mass: BELIEF.region(mass / 100).geojson() for mass in (50, 90)},
    place=Place("Chamonix", 3.0, "Haute-Savoie", "France", "FR"),
    evidence=(Evidence("similar", HOSTILE, 46.0, 7.0, 13.0, 0.912, "gallery", "NASA"),),
    confidence=Confidence("fairly sure"),
)

if __name__ == "__main__":
    review.serve([(one, ANSWER) for one in photos([sys.argv[1]])], port=int(sys.argv[2]))

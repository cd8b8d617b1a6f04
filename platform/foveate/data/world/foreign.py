"""The words of the videos that are not in English."""

from __future__ import annotations

from typing import Final

FOREIGN: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "es": {
        "episodes": ("{subject}, capítulo {number}",),
        "titles": (
            "Todo sobre {subject}",
            "Guía rápida: {subject}",
            "{Subject} paso a paso",
            "La verdad sobre {subject}",
        ),
        "Cooking": ("el pan casero", "la tortilla", "el arroz"),
        "Gaming": ("el jefe final", "los juegos retro", "la primera partida"),
        "Music": ("la guitarra flamenca", "el ritmo", "los acordes"),
        "Sport": ("el fútbol sala", "la montaña", "el maratón"),
        "Science": ("los agujeros negros", "el cerebro", "la luz"),
        "Technology": ("los móviles baratos", "la programación", "los robots"),
        "Travel": ("Sevilla", "Oaxaca", "la Patagonia"),
        "Comedy": ("mi suegra", "los lunes", "mi gato"),
        "Education": ("los mayas", "los números primos", "el latín"),
        "Home": ("el huerto", "la madera", "los pisos pequeños"),
        "Fashion": ("la ropa usada", "la costura", "las zapatillas"),
        "Film": ("el cine mudo", "los finales", "el documental"),
        "News": ("los alquileres", "la sequía", "los precios"),
        "Health": ("el sueño", "el yoga", "la espalda"),
        "Vehicles": ("la bicicleta", "los coches viejos", "el coche eléctrico"),
        "Art": ("la acuarela", "la cerámica", "el retrato"),
    },
    "de": {
        "episodes": ("{subject}, Folge {number}",),
        "titles": (
            "Alles über {subject}",
            "{Subject} in {minutes} Minuten",
            "{Subject}: so geht es",
            "Die Wahrheit über {subject}",
        ),
        "Cooking": ("Sauerteig", "Spätzle", "Apfelkuchen"),
        "Gaming": ("Retrospiele", "Endgegner", "Aufbauspiele"),
        "Music": ("Klavier", "Chöre", "Modularsynthesizer"),
        "Sport": ("Bergtouren", "Halbmarathon", "Torwarttraining"),
        "Science": ("Schwarze Löcher", "Bienen", "Quanten"),
        "Technology": ("Lötkolben", "Datenbanken", "Klapphandys"),
        "Travel": ("Nachtzüge", "Leipzig", "Ostseeküste"),
        "Comedy": ("Nachbarn", "Bürokratie", "Hundeschule"),
        "Education": ("Primzahlen", "Römerstraßen", "Dialekte"),
        "Home": ("Hochbeete", "Werkbänke", "kleine Küchen"),
        "Fashion": ("Flohmarktfunde", "Nähen", "Turnschuhe"),
        "Film": ("Stummfilme", "Kurzfilme", "Dokumentarfilme"),
        "News": ("Mieten", "Hochwasser", "Wahlrecht"),
        "Health": ("Rückenschmerzen", "Schlaf", "Klimmzüge"),
        "Vehicles": ("Lastenräder", "Oldtimer", "Ladesäulen"),
        "Art": ("Aquarelle", "Tonschalen", "Porträts"),
    },
}
"""Titles, episodes and subjects of the videos that are not in English, by language and category."""

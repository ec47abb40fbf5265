"""Voice: hearing a clip, speaking a text, and delivering an answer sentence by sentence."""

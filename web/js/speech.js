// Where in the written answer each spoken piece stands, and how much of the answer was heard.

/**
 * The pieces of one spoken answer, in order. A piece's text is the sentences that begin with it; a piece without text
 * goes on with the sentences of the one before. So pieces are kept in passages: a stretch of text, and its sound.
 */
export class SpokenText {
  #passages = [];

  add({ seq, text, seconds }) {
    const piece = { seq, milliseconds: seconds * 1000 };
    if (text.trim() || !this.#passages.length) this.#passages.push({ text: text.trim(), pieces: [piece] });
    else this.#passages.at(-1).pieces.push(piece);
  }

  /** @returns {[number, number] | null} where in `reply` the sentences stand that are being spoken in piece `seq` */
  range(reply, seq) {
    return this.#find(reply, seq)?.range ?? null;
  }

  /** What of `reply` was heard: of the passage being spoken as much as its share of time, cut back to a whole word. */
  heard(reply, { played_seq: seq, played_ms: milliseconds }) {
    const found = this.#find(reply, seq);
    if (!found) return "";
    const [start, end] = found.range;
    const { pieces } = found.passage;
    const whole = pieces.reduce((sum, piece) => sum + piece.milliseconds, 0);
    const before = pieces.filter((piece) => piece.seq < seq).reduce((sum, piece) => sum + piece.milliseconds, 0);
    const share = whole > 0 ? Math.min(1, (before + milliseconds) / whole) : 1;
    return wholeWords(reply, start + Math.floor((end - start) * share));
  }

  #find(reply, seq) {
    let from = 0;
    for (const passage of this.#passages) {
      const range = locate(reply, passage.text, from);
      if (passage.pieces.some((piece) => piece.seq === seq)) return { passage, range };
      from = range[1];
    }
    return null;
  }
}

function wholeWords(text, end) {
  if (end >= text.length || /\s/.test(text[end])) return text.slice(0, end).trimEnd();
  return text.slice(0, end).replace(/\S+$/, "").trimEnd();
}

// The voice may be given the sentence with other spaces than the answer is written with.
function locate(reply, text, from) {
  const exact = reply.indexOf(text, from);
  if (exact >= 0) return [exact, exact + text.length];
  const words = text.split(/\s+/).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const pattern = new RegExp(words.join("\\s+"), "g");
  pattern.lastIndex = from;
  const match = pattern.exec(reply);
  if (match) return [match.index, match.index + match[0].length];
  return [from, Math.min(reply.length, from + text.length)];
}

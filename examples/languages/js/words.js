// The example skill `words` in JavaScript: one exported object for the interface of wit/words.wit.
// A `result` is what is returned, or what is thrown.

/** The words of a text, in lower case. */
function split(text) {
  const found = text.match(/[0-9A-Za-z\u{80}-\u{10ffff}]+/gu) ?? [];
  return found.map((word) => word.replace(/[A-Z]+/g, (letters) => letters.toLowerCase()));
}

/** Strings compare by UTF-16 units; this is the order of code points. */
function byCodePoints(one, two) {
  const [ones, twos] = [Array.from(one), Array.from(two)];
  for (let at = 0; at < Math.min(ones.length, twos.length); at++) {
    const difference = ones[at].codePointAt(0) - twos[at].codePointAt(0);
    if (difference !== 0) return difference;
  }
  return ones.length - twos.length;
}

function countLines(text) {
  const newlines = text.split("\n").length - 1;
  return text === "" || text.endsWith("\n") ? newlines : newlines + 1;
}

/** A `u32` beyond 2^31 - 1 arrives as a negative number (componentize-qjs 0.4.5). */
const unsigned = (number) => number >>> 0;

export const words = {
  countWords(text, top) {
    const found = split(text);
    if (found.length === 0) throw { tag: "empty" };
    const times = new Map();
    for (const word of found) times.set(word, (times.get(word) ?? 0) + 1);
    const counts = Array.from(times, ([word, times]) => ({ word, times }));
    counts.sort((one, two) => two.times - one.times || byCodePoints(one.word, two.word));
    const isTie = counts.length > 1 && counts[0].times === counts[1].times;
    return {
      words: found.length,
      lines: countLines(text),
      favourite: isTie ? undefined : counts[0].word,
      top: counts.slice(0, unsigned(top ?? 3)),
    };
  },

  slug(title, maxLength) {
    const [first, ...others] = split(title);
    if (first === undefined) throw { tag: "empty" };
    const max = unsigned(maxLength ?? 40);
    let length = Array.from(first).length;
    if (length > max) throw { tag: "too-long", val: length };
    let slug = first;
    for (const word of others) {
      length += 1 + Array.from(word).length;
      if (length > max) break;
      slug += "-" + word;
    }
    return slug;
  },
};

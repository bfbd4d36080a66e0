/**
 * Whether a JSON text gives a name twice in one object (RFC 8259 §4 leaves open which of them counts, so readers differ, and a proxy or a log may have
 * seen the other one).
 *
 * The text was parsed before: only strings and brackets are looked at. Names are compared as they are read, so an escape hides nothing.
 */

/** For text that `JSON.parse` took. */
export function repeatsName(text: string): boolean {
  /** One for each bracket that is open: the names so far of an object, `undefined` for a list. */
  const open: (Set<string> | undefined)[] = []
  // A name is the string after `{`, or after `,` in an object.
  let isNameNext = false
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case '{':
        open.push(new Set())
        isNameNext = true
        break
      case '[':
        open.push(undefined)
        isNameNext = false
        break
      case '}':
      case ']':
        open.pop()
        isNameNext = false
        break
      case ',':
        isNameNext = open.at(-1) !== undefined
        break
      case '"': {
        const end = endOfString(text, at)
        const names = open.at(-1)
        if (isNameNext && names !== undefined) {
          const name = JSON.parse(text.slice(at, end + 1)) as string
          if (names.has(name)) return true
          names.add(name)
        }
        isNameNext = false
        at = end
        break
      }
      default:
    }
  }
  return false
}

/** Where the string that begins at `start` has its closing quote: the first that no odd number of backslashes stands before. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let slashes = 0
    while (text[end - 1 - slashes] === '\\') slashes++
    if (slashes % 2 === 0) return end
  }
  return text.length
}

/**
 * Path patterns of rules, compiled once to a matcher of canonical paths.
 *
 * `*` is any run of characters within one segment, also none; a last segment `**` stands for everything below, and for the path
 * in front of it. Case counts. `exact` is for allow: nothing but the pattern itself is proof. `loose` is for deny: it also matches
 * every spelling that some upstream might read as the same resource (other case, trailing `/` or `.`, `;parameters`, the decoded
 * form of what `path_rules` kept), because the many known bypasses of path rules are all such spellings.
 *
 * There is no RegExp with a quantifier over input: pieces between stars are searched left to right, so time is linear in the path.
 */

export type PathMatcher = (path: string) => boolean

/** A matcher for canonical paths. Throws `TypeError` on a pattern that `findPatternProblem` would name. */
export function compilePathPattern(pattern: string, mode: 'exact' | 'loose'): PathMatcher {
  const problem = findPatternProblem(pattern)
  if (problem !== undefined) throw new TypeError(`path pattern ${JSON.stringify(pattern)} ${problem}`)
  const exact = compileExact(pattern)
  if (mode === 'exact') return exact

  const folded = foldedForms(pattern).map(compileExact)
  const matchesFolded: PathMatcher = (form) => folded.some((matches) => matches(form))
  return (path) => exact(path) || (isFolded(path) ? matchesFolded(path) : looseFormsOf(path).some(matchesFolded))
}

/**
 * The first segment of a path that nothing could read as another; `undefined` where some spelling rule might apply to the path.
 * Only patterns whose heads hold this segment, or that have none, can match such a path.
 */
export function headOf(path: string): string | undefined {
  if (!isFolded(path)) return undefined
  const end = path.indexOf('/', 1)
  return end === -1 ? path.slice(1) : path.slice(1, end)
}

/** The first segments that paths can have which a pattern matches; `undefined`: any. For paths that have a head, see `headOf`. */
export function headsOf(pattern: string, mode: 'exact' | 'loose'): readonly string[] | undefined {
  const forms = mode === 'exact' ? [pattern] : [pattern, ...foldedForms(pattern)]
  const heads = forms.map((form) => form.slice(1).split('/', 1)[0] ?? '')
  return heads.some((head) => head.includes('*')) ? undefined : heads
}

/** What is wrong with a pattern, as the end of a sentence about it; `undefined` if it can be compiled. */
export function findPatternProblem(pattern: string): string | undefined {
  if (!pattern.startsWith('/')) return 'must start with "/"'
  if (/[?#\\]/.test(pattern)) return 'must not contain "?", "#" or "\\"'
  const segments = pattern.slice(1).split('/')
  if (segments.some((segment) => segment === '.' || segment === '..'))
    return 'must not contain "." or ".." segments: no canonical path has them'
  if (segments.some((segment, index) => segment.includes('**') && (segment !== '**' || index !== segments.length - 1)))
    return 'may have "**" only as its last segment'
  return undefined
}

function compileExact(pattern: string): PathMatcher {
  const isTree = pattern.endsWith('/**')
  const base = isTree ? pattern.slice(0, -3) : pattern
  if (!base.includes('*')) {
    if (!isTree) return (path) => path === base
    if (base === '') return (path) => path.startsWith('/')
    const below = `${base}/`
    return (path) => path === base || path.startsWith(below)
  }
  const segments = base.slice(1).split('/').map(compileSegment)
  return (path) => matchSegments(segments, isTree, path)
}

function matchSegments(segments: readonly SegmentMatcher[], isTree: boolean, path: string): boolean {
  if (!path.startsWith('/')) return false
  let start = 1
  for (const [index, matches] of segments.entries()) {
    const slash = path.indexOf('/', start)
    const end = slash === -1 ? path.length : slash
    if (!matches(path.slice(start, end))) return false
    if (index === segments.length - 1) return isTree || slash === -1
    if (slash === -1) return false
    start = slash + 1
  }
  return false
}

type SegmentMatcher = (segment: string) => boolean

function compileSegment(pattern: string): SegmentMatcher {
  const pieces = pattern.split('*')
  const first = pieces[0] ?? ''
  if (pieces.length === 1) return (segment) => segment === first
  const last = pieces.at(-1) ?? ''
  const middle = pieces.slice(1, -1).filter((piece) => piece !== '')
  const shortest = pieces.reduce((length, piece) => length + piece.length, 0)
  return (segment) => {
    if (segment.length < shortest || !segment.startsWith(first) || !segment.endsWith(last)) return false
    // Taking each piece at its left-most place leaves the most room for the rest, so nothing ever needs to be tried again.
    let from = first.length
    for (const piece of middle) {
      const at = segment.indexOf(piece, from)
      if (at === -1) return false
      from = at + piece.length
    }
    return from <= segment.length - last.length
  }
}

/** The spellings under which an upstream might read this path: as kept or decoded, with or without `;parameters`. */
function looseFormsOf(path: string): readonly string[] {
  const isPlain = !path.includes('%') && !path.includes(';')
  if (isPlain) return [joinSegments(path.split('/'), (segment) => foldCase(withoutTrailingDots(segment)))]

  const forms = new Set<string>()
  for (const form of [path, decodePath(path)]) {
    const segments = form.split('/')
    forms.add(joinSegments(segments, (segment) => foldCase(withoutTrailingDots(segment))))
    forms.add(joinSegments(segments, (segment) => foldCase(withoutTrailingDots(withoutParameters(segment)))))
  }
  // Decoding may bring out a `..`, also in front of parameters (`..;/`), which servers remove before they resolve it.
  const bare = decodePath(path).split('/').map(withoutParameters).join('/')
  forms.add(joinSegments(resolveDotSegments(bare).split('/'), (segment) => foldCase(withoutTrailingDots(segment))))
  return [...forms]
}

/** Whether folding would leave the path as it is, as nearly all are: saying so costs a tenth of folding. */
function isFolded(path: string): boolean {
  const { length } = path
  if (length < 2 || path.charCodeAt(0) !== 0x2f) return false
  for (let at = 0; at < length; at++) {
    const code = path.charCodeAt(at)
    const isPlain = (code >= 0x61 && code <= 0x7a) || (code >= 0x30 && code <= 0x39) || code === 0x2d || code === 0x5f || code === 0x7e
    if (isPlain) continue
    // A slash or a dot, unless folding would remove it: at the end, and in front of a slash.
    if ((code !== 0x2f && code !== 0x2e) || at === length - 1 || path.charCodeAt(at + 1) === 0x2f) return false
  }
  return true
}

function foldedForms(pattern: string): readonly string[] {
  return [...new Set([foldPattern(pattern, 'kept'), foldPattern(pattern, 'decoded')])]
}

/** The pattern in the shape of the forms above. Its parameters stay: who writes `;v=1` in a deny means that parameter. */
function foldPattern(pattern: string, escapes: 'kept' | 'decoded'): string {
  const isTree = pattern.endsWith('/**')
  const base = isTree ? pattern.slice(0, -3) : pattern
  // An escaped star stays escaped: decoded, it would become a wildcard.
  const segments = (
    escapes === 'decoded'
      ? base
          .split(/(%2A)/i)
          .map((part, at) => (at % 2 === 1 ? part : decodePath(part)))
          .join('')
      : base
  ).split('/')
  const folded = joinSegments(segments, (segment) => {
    const undotted = withoutTrailingDots(segment)
    // `*.` would become `*`: a pattern must not widen to every name. It still matches as written.
    return foldCase(undotted.endsWith('*') ? segment : undotted)
  })
  if (!isTree) return folded
  return folded === '/' ? '/**' : `${folded}/**`
}

/** Empty segments go, and with them doubled and trailing slashes. */
function joinSegments(segments: readonly string[], fold: (segment: string) => string): string {
  let joined = ''
  for (const segment of segments) {
    const folded = fold(segment)
    if (folded !== '') joined += `/${folded}`
  }
  return joined === '' ? '/' : joined
}

/** Only the outermost layer of escapes, as an upstream would; what is not UTF-8 stays escaped. Compatibility forms become what they resemble. */
function decodePath(path: string): string {
  if (!path.includes('%')) return path
  return path
    .replace(/(?:%[0-9A-Fa-f]{2})+/g, (escapes) => {
      try {
        return decodeURIComponent(escapes)
      } catch {
        // Not UTF-8: there is no text that an upstream could read it as.
        return escapes
      }
    })
    .normalize('NFKC')
}

function resolveDotSegments(path: string): string {
  const resolved: string[] = []
  for (const segment of path.split('/')) {
    if (segment === '..') resolved.pop()
    else if (segment !== '.' && segment !== '') resolved.push(segment)
  }
  return `/${resolved.join('/')}`
}

function withoutParameters(segment: string): string {
  const at = segment.indexOf(';')
  return at === -1 ? segment : segment.slice(0, at)
}

function withoutTrailingDots(segment: string): string {
  let end = segment.length
  while (end > 0 && segment.charCodeAt(end - 1) === 0x2e) end -= 1
  return end === segment.length ? segment : segment.slice(0, end)
}

/** Both ways round: `ſ` and `ı` meet `s` and `i` only in capitals, the Kelvin sign meets `k` only in small letters. */
function foldCase(text: string): string {
  return text.toUpperCase().toLowerCase()
}

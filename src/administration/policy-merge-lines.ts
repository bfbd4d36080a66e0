/**
 * Which lines of two texts are the same lines: the ground of differences and merges.
 *
 * Patience first (lines that are unique in both, in order), Myers' greedy search between those, and both within a budget: files of a policy have
 * tens of thousands of lines, nearly all of them equal, and a file of somebody's making that has none in common must not take minutes. What is
 * beyond the budget counts as different, which makes a difference longer and a merge more careful, and never wrong.
 */

/** Equal lines: `length` lines from `a` and from `b` on. In order, and never adjacent in both. */
export interface Match {
  readonly a: number
  readonly b: number
  readonly length: number
}

/** Lines with their ends, so that a text is its lines joined: the last one may have none. */
export function splitLines(text: string): readonly string[] {
  return text.match(/[^\n]*\n|[^\n]+$/g) ?? []
}

/** Steps over all regions: about a second on a slow machine. */
const mostWork = 20_000_000

/** Edits within one region that are looked for; its memory grows with their square (1.5 MB). */
const mostEdits = 600

interface Region {
  readonly aFrom: number
  readonly aTo: number
  readonly bFrom: number
  readonly bTo: number
}

/** The lines that `a` and `b` share. */
export function matchLines(a: readonly string[], b: readonly string[]): readonly Match[] {
  const numbers = new Map<string, number>()
  const numbered = (lines: readonly string[]) =>
    Int32Array.from(lines, (line) => {
      const known = numbers.get(line)
      if (known !== undefined) return known
      numbers.set(line, numbers.size)
      return numbers.size - 1
    })
  return join(matchRegions(numbered(a), numbered(b)))
}

function matchRegions(a: Int32Array, b: Int32Array): Match[] {
  const matches: Match[] = []
  const regions: Region[] = [{ aFrom: 0, aTo: a.length, bFrom: 0, bTo: b.length }]
  let work = 0
  // A stack of its own: texts can be made that take as many regions within each other as they have lines.
  for (let region = regions.pop(); region !== undefined; region = regions.pop()) {
    const inner = takeEnds(a, b, region, matches)
    const size = inner.aTo - inner.aFrom + (inner.bTo - inner.bFrom)
    work += region.aTo - region.aFrom + 1
    if (inner.aFrom === inner.aTo || inner.bFrom === inner.bTo || work > mostWork) continue
    work += size
    const anchors = findAnchors(a, b, inner)
    if (anchors.length > 0) {
      regions.push(...between(inner, anchors))
      continue
    }
    const limit = Math.min(mostEdits, Math.floor(Math.sqrt(Math.max(0, mostWork - work))))
    work += limit * limit
    for (const match of findByEdits(a, b, inner, limit)) matches.push(match)
  }
  return matches
}

/** Takes off what the region begins and ends with in both; the rest. */
function takeEnds(a: Int32Array, b: Int32Array, { aFrom, aTo, bFrom, bTo }: Region, matches: Match[]): Region {
  let head = 0
  while (aFrom + head < aTo && bFrom + head < bTo && a[aFrom + head] === b[bFrom + head]) head += 1
  let tail = 0
  while (aTo - tail > aFrom + head && bTo - tail > bFrom + head && a[aTo - tail - 1] === b[bTo - tail - 1]) tail += 1
  if (head > 0) matches.push({ a: aFrom, b: bFrom, length: head })
  if (tail > 0) matches.push({ a: aTo - tail, b: bTo - tail, length: tail })
  return { aFrom: aFrom + head, aTo: aTo - tail, bFrom: bFrom + head, bTo: bTo - tail }
}

interface Anchor {
  readonly a: number
  readonly b: number
}

/** Lines that stand once in both, as many as are in the same order in both. */
function findAnchors(a: Int32Array, b: Int32Array, { aFrom, aTo, bFrom, bTo }: Region): readonly Anchor[] {
  const once = (lines: Int32Array, from: number, to: number) => {
    const places = new Map<number, number>()
    for (let at = from; at < to; at++) {
      const line = lines[at] ?? -1
      places.set(line, places.has(line) ? -1 : at)
    }
    return places
  }
  const inB = once(b, bFrom, bTo)
  const common: Anchor[] = []
  for (const [line, at] of once(a, aFrom, aTo)) {
    const there = inB.get(line) ?? -1
    if (at >= 0 && there >= 0) common.push({ a: at, b: there })
  }
  common.sort((one, other) => one.a - other.a)
  return longestRising(common)
}

/** The longest subsequence whose `b` rise (patience sorting), in n log n. */
function longestRising(anchors: readonly Anchor[]): readonly Anchor[] {
  const tops: number[] = []
  const before = new Int32Array(anchors.length)
  anchors.forEach(({ b }, index) => {
    let from = 0
    let to = tops.length
    while (from < to) {
      const middle = (from + to) >> 1
      if ((anchors[tops[middle] ?? 0]?.b ?? 0) < b) from = middle + 1
      else to = middle
    }
    before[index] = from === 0 ? -1 : (tops[from - 1] ?? -1)
    tops[from] = index
  })
  const rising: Anchor[] = []
  for (let index = tops.at(-1) ?? -1; index >= 0; index = before[index] ?? -1) {
    const anchor = anchors[index]
    if (anchor !== undefined) rising.push(anchor)
  }
  return rising.reverse()
}

/** From each anchor to the next; it is found again as the first line of its region. */
function between({ aFrom, aTo, bFrom, bTo }: Region, anchors: readonly Anchor[]): readonly Region[] {
  const starts = [{ a: aFrom, b: bFrom }, ...anchors, { a: aTo, b: bTo }]
  return starts.slice(1).map((end, index) => {
    const start = starts[index] ?? end
    return { aFrom: start.a, aTo: end.a, bFrom: start.b, bTo: end.b }
  })
}

/** Myers, "An O(ND) Difference Algorithm and Its Variations" (1986), section 4; nothing where it takes more than `limit` edits. */
function findByEdits(a: Int32Array, b: Int32Array, { aFrom, aTo, bFrom, bTo }: Region, limit: number): readonly Match[] {
  const n = aTo - aFrom
  const m = bTo - bFrom
  const most = Math.min(limit, n + m)
  const furthest = new Int32Array(2 * most + 3)
  const at = (diagonal: number) => diagonal + most + 1
  const trace: Int32Array[] = []
  for (let edits = 0; edits <= most; edits++) {
    trace.push(furthest.slice(at(-edits) - 1, at(edits) + 2))
    for (let diagonal = -edits; diagonal <= edits; diagonal += 2) {
      const isDown = diagonal === -edits || (diagonal !== edits && value(furthest, at(diagonal - 1)) < value(furthest, at(diagonal + 1)))
      let x = isDown ? value(furthest, at(diagonal + 1)) : value(furthest, at(diagonal - 1)) + 1
      while (x < n && x - diagonal < m && a[aFrom + x] === b[bFrom + x - diagonal]) x += 1
      furthest[at(diagonal)] = x
      if (x >= n && x - diagonal >= m) return walkBack(trace, { aFrom, aTo, bFrom, bTo })
    }
  }
  return []
}

function walkBack(trace: readonly Int32Array[], { aFrom, aTo, bFrom, bTo }: Region): readonly Match[] {
  const matches: Match[] = []
  let x = aTo - aFrom
  let y = bTo - bFrom
  for (let edits = trace.length - 1; edits >= 0; edits--) {
    const furthest = trace[edits] ?? new Int32Array()
    // Each was kept from the diagonal below the lowest one on.
    const at = (diagonal: number) => diagonal + edits + 1
    const diagonal = x - y
    const isDown = diagonal === -edits || (diagonal !== edits && value(furthest, at(diagonal - 1)) < value(furthest, at(diagonal + 1)))
    const from = isDown ? diagonal + 1 : diagonal - 1
    const startX = edits === 0 ? 0 : value(furthest, at(from))
    const afterEdit = edits === 0 ? 0 : isDown ? startX : startX + 1
    if (x > afterEdit) matches.push({ a: aFrom + afterEdit, b: bFrom + afterEdit - diagonal, length: x - afterEdit })
    x = startX
    y = startX - from
  }
  return matches
}

function value(numbers: Int32Array, at: number): number {
  return numbers[at] ?? 0
}

/** In order, and those that touch as one. */
function join(matches: Match[]): readonly Match[] {
  const joined: Match[] = []
  for (const match of matches.sort((one, other) => one.a - other.a)) {
    const last = joined.at(-1)
    if (last !== undefined && last.a + last.length === match.a && last.b + last.length === match.b)
      joined[joined.length - 1] = { ...last, length: last.length + match.length }
    else joined.push(match)
  }
  return joined
}

/**
 * PromQL as far as our alert rules and dashboard use it: parsed, so that a query that is none, or that names a metric or a label which does
 * not exist, is found without a Prometheus. Where promtool is there it has the last word.
 *
 * The grammar is that of Prometheus 2: selectors with matchers, ranges and offsets, aggregations with their grouping before or behind,
 * functions, and binary operators by precedence with vector matching.
 */

/** What a query asks for. */
export interface Query {
  readonly selectors: readonly Selector[]
  /** Labels that are grouped by or matched on, each with the selectors below it. */
  readonly groupings: readonly { readonly labels: readonly string[]; readonly of: readonly Selector[] }[]
}

export interface Selector {
  readonly metric: string
  readonly labels: readonly string[]
}

const aggregations = new Set(['sum', 'min', 'max', 'avg', 'count', 'stddev', 'topk', 'bottomk', 'quantile', 'group'])
const functions = new Set([
  ...['rate', 'irate', 'increase', 'delta', 'changes', 'resets', 'histogram_quantile', 'predict_linear', 'time', 'vector', 'abs', 'absent'],
  ...['clamp_min', 'clamp_max', 'max_over_time', 'min_over_time', 'avg_over_time', 'label_replace', 'sort', 'sort_desc', 'scalar', 'round'],
])
/** From loose to tight. */
const operators = [['or'], ['and', 'unless'], ['==', '!=', '<=', '<', '>=', '>'], ['+', '-'], ['*', '/', '%'], ['^']]
const words =
  /\s*(?:(\d+[smhdwy](?!\w)|\d+(?:\.\d+)?(?:e[+-]?\d+)?(?!\w))|([a-zA-Z_:][\w:]*)|("(?:[^"\\]|\\.)*")|(\[[^\]]*\])|(=~|!~|==|!=|<=|>=|[-+*/%^<>=(){},]))/y

/** Parses a query; throws with what is wrong with it. */
export function parseQuery(text: string): Query {
  const tokens = readTokens(text)
  const selectors: Selector[] = []
  const groupings: { labels: readonly string[]; of: readonly Selector[] }[] = []
  let at = 0

  const peek = () => tokens[at] ?? ''
  const take = () => {
    at += 1
    return tokens[at - 1] ?? ''
  }
  const expect = (wanted: string) => {
    const got = take()
    if (got !== wanted) throw new Error(`${wanted} was due, not ${got || 'the end'}, in ${text}`)
  }
  const isName = (token: string) => /^[a-zA-Z_:]/.test(token)

  function list(): readonly string[] {
    const names: string[] = []
    expect('(')
    while (peek() !== ')') {
      const name = take()
      if (!isName(name)) throw new Error(`a label was due, not ${name}, in ${text}`)
      names.push(name)
      if (peek() !== ')') expect(',')
    }
    expect(')')
    return names
  }

  function binary(level: number): void {
    const known = operators[level]
    if (known === undefined) {
      unary()
      return
    }
    const begin = selectors.length
    binary(level + 1)
    while (known.includes(peek())) {
      take()
      const matched: string[] = []
      if (peek() === 'bool') take()
      if (peek() === 'on' || peek() === 'ignoring') {
        take()
        matched.push(...list())
      }
      if (peek() === 'group_left' || peek() === 'group_right') {
        take()
        if (peek() === '(') matched.push(...list())
      }
      binary(level + 1)
      if (matched.length > 0) groupings.push({ labels: matched, of: selectors.slice(begin) })
    }
  }

  function unary(): void {
    if (peek() === '-' || peek() === '+') take()
    primary()
    if (peek().startsWith('[')) {
      if (!/^\[(?:\d+[smhdwy])+(?::(?:\d+[smhdwy])*)?\]$/.test(take())) throw new Error(`a range was due in ${text}`)
    }
    if (peek() === 'offset') {
      take()
      if (!/^\d+[smhdwy]$/.test(take())) throw new Error(`an offset was due in ${text}`)
    }
  }

  function primary(): void {
    const token = take()
    if (/^\d/.test(token) || token.startsWith('"')) return
    if (token === '(') {
      binary(0)
      expect(')')
      return
    }
    if (!isName(token)) throw new Error(`something to ask for was due, not ${token || 'the end'}, in ${text}`)
    if (aggregations.has(token)) {
      aggregate()
      return
    }
    if (peek() === '(') {
      if (!functions.has(token)) throw new Error(`there is no function ${token} in ${text}`)
      callArguments()
      return
    }
    selectors.push({ metric: token, labels: peek() === '{' ? matchers() : [] })
  }

  function aggregate(): void {
    const begin = selectors.length
    const labels = isGrouping() ? grouping() : undefined
    callArguments()
    const all = labels ?? (isGrouping() ? grouping() : [])
    if (all.length > 0) groupings.push({ labels: all, of: selectors.slice(begin) })
  }

  const isGrouping = () => peek() === 'by' || peek() === 'without'
  function grouping(): readonly string[] {
    take()
    return list()
  }

  function callArguments(): void {
    expect('(')
    while (peek() !== ')') {
      binary(0)
      if (peek() !== ')') expect(',')
    }
    expect(')')
  }

  function matchers(): readonly string[] {
    const labels: string[] = []
    expect('{')
    while (peek() !== '}') {
      const label = take()
      const operator = take()
      const value = take()
      if (!isName(label) || !['=', '!=', '=~', '!~'].includes(operator) || !value.startsWith('"'))
        throw new Error(`${label}${operator}${value} is no matcher in ${text}`)
      labels.push(label)
      if (peek() !== '}') expect(',')
    }
    expect('}')
    return labels
  }

  binary(0)
  if (at < tokens.length) throw new Error(`${peek()} is left over in ${text}`)
  return { selectors, groupings }
}

function readTokens(text: string): readonly string[] {
  const tokens: string[] = []
  words.lastIndex = 0
  while (words.lastIndex < text.trimEnd().length) {
    const from = words.lastIndex
    const found = words.exec(text)
    if (found === null) throw new Error(`nobody can read ${text.slice(from, from + 20)} in ${text}`)
    tokens.push(found[0].trim())
  }
  return tokens
}

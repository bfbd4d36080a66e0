/**
 * Metrics, alert rules and dashboard tell of the same things: everything that exists is documented and nothing else is, every rule and every
 * panel asks for metrics and labels that exist, and promtool, where it is installed, agrees.
 */

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { findProgram } from '../e2e/provision.ts'
import { createMetrics } from '../src/metrics.ts'
import { reasons } from '../src/policy/decision.ts'
import { parseQuery, type Selector } from './promql.fixture.ts'

const folder = join(import.meta.dirname, 'operations')
const read = (...path: string[]) => readFileSync(join(import.meta.dirname, ...path), 'utf8')
const promtool = process.env['POSTERN_TEST_PROMTOOL'] ?? findProgram(['promtool'])

const at = Date.now()
const expiry = (file: string) => ({ file, notBefore: at, notAfter: at })
const metrics = createMetrics({
  openConnections: () => 1,
  openExchanges: () => 1,
  newsAgeMs: () => 1,
  isProviderReady: () => true,
  isAuditWritable: () => true,
  sessionsInUse: () => 1,
  auditTrail: () => ({ queuedLines: 1, queuedBytes: 1, isFull: false, isFailing: false, seq: 1, checkpointAt: at }),
  auditUsage: () => ({ bytes: 1, limitBytes: 2, diskFreeBytes: 3, share: 0.5 }),
  auditSinks: () => [{ name: 'siem', lagLines: 1, lagBytes: 1, lagSeconds: 1, failures: 1, sent: 1, lost: 1, skipped: 1 }],
  arePolicyFilesInForce: () => true,
  expiries: () => ({ listener: [expiry('/tls/a "b" \\c.pem')], clientAuthorities: [expiry('ca')], revocationLists: [expiry('crl')] }),
  keyDates: () => ({ sealing: at, assertion: at, audit: at }),
  version: '1.0.0',
})
afterAll(() => metrics.close())
metrics.setPolicy('sha256-1', at)
metrics.observeRequest({ app: 'wiki', effect: 'allow', reason: 'rule_matched', status: 200, seconds: 1, overheadSeconds: 0.001 })
metrics.observeStore('load_record', 0.001, false)
metrics.observeProvider('token', 0.1, true)
metrics.observeAuditFsync(0.001)
metrics.observeCutDelay({ trigger: 'end', seconds: 0.1 })
metrics.countAlert('wiki')

const families = metrics.families()
const byName = new Map(families.map((family) => [family.name, family]))

describe('docs/metrics.md', () => {
  const rows = [...read('metrics.md').matchAll(/^\| `([a-z0-9_]+)` \| (counter|gauge|histogram) \| ([^|]+) \| ([^|]+) \| (.+) \|$/gm)].map(
    ([, name = '', type = '', labels = '', unit = '', meaning = '']) => {
      return { name, type, labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label), unit, meaning }
    },
  )

  test('has a row for each metric, with its type and its labels, and for nothing else', () => {
    const documented = rows.map(({ name, type, labels }) => ({ name, type, labels })).sort((a, b) => a.name.localeCompare(b.name))
    const existing = families.map(({ name, type, labels }) => ({ name, type, labels: [...labels] }))
    expect(documented).toEqual(existing.sort((a, b) => a.name.localeCompare(b.name)))
  })

  test('states units that fit the names', () => {
    for (const { name, unit } of rows) {
      if (name.includes('_timestamp_seconds') || name === 'process_start_time_seconds') expect([name, unit]).toEqual([name, 'instant'])
      else if (/_seconds(?:_total)?$/.test(name)) expect([name, unit]).toEqual([name, 'seconds'])
      else if (name.endsWith('_bytes')) expect([name, unit]).toEqual([name, 'bytes'])
      else if (name.endsWith('_ratio')) expect([name, unit]).toEqual([name, 'ratio'])
      else if (name.endsWith('_info')) expect([name, unit]).toEqual([name, '1'])
      else expect([name, unit]).not.toEqual([name, expect.stringMatching(/^(?:seconds|bytes|ratio|instant)$/)])
    }
  })
})

interface Alert {
  readonly alert: string
  readonly expr: string
  readonly labels: { readonly severity: string }
  readonly annotations: { readonly summary: string }
}
const { groups } = parse(read('operations', 'alerts.yaml')) as { groups: readonly { readonly rules: readonly Alert[] }[] }
const alerts = groups.flatMap(({ rules }) => rules)

interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly targets?: readonly { readonly refId: string; readonly expr: string; readonly legendFormat: string }[]
}
const dashboard = JSON.parse(read('operations', 'dashboard.json')) as {
  readonly panels: readonly Panel[]
  readonly templating: { readonly list: readonly { readonly name: string; readonly definition?: string }[] }
}
const panels = dashboard.panels.filter(({ type }) => type !== 'row')
/** As Grafana asks with everything selected. */
const asAsked = (expr: string) => expr.replaceAll('$__rate_interval', '5m').replaceAll(/\$(?:instance|app)\b/g, '.*')
const queries = [
  ...alerts.map(({ alert, expr }) => ({ name: alert, expr })),
  ...panels.flatMap(({ title, targets = [] }) => targets.map(({ expr, refId }) => ({ name: `${title} ${refId}`, expr: asAsked(expr) }))),
]

/** What Prometheus adds to every series when it scrapes. */
const scraped = ['instance', 'job']

/** The labels of a series; `undefined` where there is no such metric. */
function labelsOf(metric: string): readonly string[] | undefined {
  if (metric === 'up') return scraped
  const family = byName.get(metric)
  if (family !== undefined && family.type !== 'histogram') return [...family.labels, ...scraped]
  const [, base, part] = /^(.+)_(bucket|sum|count)$/.exec(metric) ?? []
  const histogram = byName.get(base ?? '')
  if (histogram?.type !== 'histogram') return undefined
  return [...histogram.labels, ...(part === 'bucket' ? ['le'] : []), ...scraped]
}

const strangersIn = (labels: readonly string[], of: readonly Selector[]) =>
  labels.filter((label) => !of.some(({ metric }) => labelsOf(metric)?.includes(label)))

describe.each(queries)('the query of $name', ({ expr }) => {
  const { groupings, selectors } = parseQuery(expr)

  test('asks for metrics and labels that exist', () => {
    expect(selectors.length).toBeGreaterThan(0)
    expect(selectors.filter(({ metric }) => labelsOf(metric) === undefined).map(({ metric }) => metric)).toEqual([])
    expect(selectors.flatMap((selector) => strangersIn(selector.labels, [selector]))).toEqual([])
    expect(groupings.flatMap(({ labels, of }) => strangersIn(labels, of))).toEqual([])
  })

  test('names only values that its labels can have', () => {
    const named = [...expr.matchAll(/\breason=~?"([^"]+)"/g)].flatMap(([, values = '']) => values.split('|'))
    const known = Object.keys(reasons)
    expect(named.filter((value) => !known.some((reason) => new RegExp(`^(?:${value})$`).test(reason)))).toEqual([])
    const effects = [...expr.matchAll(/\beffect!?="([^"]+)"/g)].map(([, value]) => value)
    expect(effects.filter((value) => !['allow', 'deny', 'challenge'].includes(value ?? ''))).toEqual([])
  })

  test('counts only what is a counter', () => {
    const counted = [...expr.matchAll(/\b(?:rate|increase)\((\w+)/g)].map(([, name = '']) => name)
    const isCounter = (name: string) => byName.get(name)?.type === 'counter' || /_(?:bucket|count|sum)$/.test(name)
    expect(counted.filter((name) => !isCounter(name))).toEqual([])
  })
})

describe('the parser of these queries', () => {
  test.each([
    'sum by (app (rate(x[5m]))',
    'rate(postern_requests_total[5 minutes])',
    'x{app=wiki}',
    'nonsense(x)',
    'x > ',
    'x y',
    'sum(x) by app',
    'x{app="a"',
  ])('refuses %s', (text) => {
    expect(() => parseQuery(text)).toThrow()
  })

  test('finds metrics and labels wherever they stand', () => {
    const { groupings, selectors } = parseQuery(
      'sum(rate(a{b="c",d!~"e"}[5m] offset 1d)) by (f) / on (g) group_left (h) max by (i) (j) > 1.5e3',
    )
    expect(selectors).toEqual([
      { metric: 'a', labels: ['b', 'd'] },
      { metric: 'j', labels: [] },
    ])
    expect(groupings.map(({ labels }) => labels)).toEqual([['f'], ['i'], ['g', 'h']])
  })
})

describe('alerts', () => {
  test('have names of their own, a severity and a sentence', () => {
    expect(new Set(alerts.map(({ alert }) => alert)).size).toBe(alerts.length)
    for (const { alert, annotations, labels } of alerts) {
      expect(alert).toMatch(/^Postern[A-Z]\w+$/)
      expect(['critical', 'warning', 'info']).toContain(labels.severity)
      expect(annotations.summary).not.toBe('')
    }
  })

  test('say only labels that their result has', () => {
    for (const { annotations, expr } of alerts) {
      const { groupings, selectors } = parseQuery(expr)
      const aggregated = groupings.flatMap(({ labels }) => labels)
      const left = aggregated.length > 0 ? aggregated : selectors.flatMap(({ metric }) => labelsOf(metric) ?? [])
      const said = [...annotations.summary.matchAll(/\$labels\.(\w+)/g)].map(([, label = '']) => label)
      expect(said.filter((label) => !left.includes(label))).toEqual([])
    }
  })

  test('each have a line in the runbook, which knows no others', () => {
    const lines = [...read('operations', 'README.md').matchAll(/^\| `(Postern\w+)` \|/gm)].map(([, name]) => name)
    expect(new Set(lines)).toEqual(new Set(alerts.map(({ alert }) => alert)))
  })
})

describe('the dashboard', () => {
  test('has panels that do not lie on each other, each with a query and a name of its own', () => {
    const all = dashboard.panels
    expect(new Set(all.map(({ id }) => id)).size).toBe(all.length)
    expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length)
    for (const one of all) {
      const { h, w, x, y } = one.gridPos
      expect(x + w).toBeLessThanOrEqual(24)
      const over = all.filter(({ gridPos: other, id }) => {
        return id !== one.id && x < other.x + other.w && other.x < x + w && y < other.y + other.h && other.y < y + h
      })
      expect(over).toEqual([])
      if (one.type !== 'row') expect(one.targets?.length).toBeGreaterThan(0)
    }
  })

  test('asks for its variables by metrics that exist, and lets every panel choose the instance', () => {
    const definitions = dashboard.templating.list.flatMap(({ definition }) => definition ?? [])
    expect(definitions).toHaveLength(2)
    for (const definition of definitions) {
      const [, selector = '', label = ''] = /^label_values\((.+), (\w+)\)$/.exec(definition) ?? []
      const [{ metric } = { metric: '' }] = parseQuery(asAsked(selector)).selectors
      expect(labelsOf(metric)).toContain(label)
    }
    for (const { targets = [] } of panels)
      for (const { expr } of targets)
        expect(expr.match(/\b(?:postern|process|nodejs)_\w+(?!\{instance=~"\$instance")(?![\w{])/g)).toBeNull()
  })
})

describe.skipIf(promtool === undefined)('promtool', () => {
  const run = (args: readonly string[], input?: string) => {
    const { status, stderr, stdout } = spawnSync(promtool ?? '', args, {
      cwd: folder,
      encoding: 'utf8',
      ...(input === undefined ? {} : { input }),
    })
    return { status, said: `${stdout}${stderr}` }
  }

  test('finds nothing wrong with the names, types and help of the metrics', async () => {
    const { said, status } = run(['check', 'metrics'], await metrics.text())
    expect([status, said]).toEqual([0, ''])
  })

  test('finds nothing wrong with the rules', () => {
    const { said, status } = run(['check', 'rules', 'alerts.yaml'])
    expect(said).toContain(`SUCCESS: ${alerts.length} rules found`)
    expect(status).toBe(0)
  })

  test('sees the rules fire when they should', () => {
    const { said, status } = run(['test', 'rules', 'alerts.test.yaml'])
    expect([status, said]).toEqual([0, expect.stringContaining('SUCCESS')])
  })
})

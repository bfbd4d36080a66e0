/**
 * The house rules, enforced: who may import whom, which package comes in by which door, and what no file may do.
 *
 * Each rule prints every offence with its reason. Tests, contracts and fixtures may import what they like; they are held to the
 * rules about form. A type-only import leaves nothing at run time and is judged by the (wider) list of types.
 */

import { readFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { dirname, join, posix, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'

/** What a folder may import from the others. `errors`, `log`, `keys`, `machine-addresses`, `name-resolution`, `pictures`, `rate-limits` and `redis-address` are open to all but `policy`. */
interface Allowance {
  readonly values: readonly string[]
  /** Folders of which types may be imported besides. */
  readonly types: readonly string[]
  readonly because: string
}

const everything = ['*']
const house: Readonly<Record<string, Allowance>> = {
  config: {
    values: ['policy/expression.ts', 'administration/policy-bundle.ts'],
    types: ['policy', 'oidc', 'administration/given.ts'],
    because:
      'it turns text into checked values and does nothing with them; the checker of expressions is shared, so that what loads is what compiles, and what a bundle is',
  },
  policy: {
    values: [],
    types: [],
    because: 'the decision is a pure function of data: nothing outside itself, so that a replay is the decision',
  },
  session: { values: [], types: ['policy', 'audit', 'oidc', 'live'], because: 'rules about sessions stand on the ports they declare' },
  audit: { values: ['policy/claim-path.ts'], types: ['policy', 'session'], because: 'it writes down what others decided' },
  live: { values: [], types: ['policy', 'session'], because: 'it carries news and decides nothing' },
  metrics: { values: [], types: ['policy'], because: 'it counts what it is told, and asks for the rest by functions' },
  attributes: {
    values: ['policy/claim-path.ts'],
    types: ['policy', 'session'],
    because:
      'facts come before the decision; only the resolver of claim paths is shared, so that a rule and a fact never read a claim differently',
  },
  oidc: { values: [], types: ['session', 'audit', 'config'], because: 'the relying party knows the provider and nobody else' },
  enforcement: {
    values: ['policy', 'session', 'attributes', 'audit', 'live'],
    types: [],
    because: 'the request path needs neither pages nor the provider nor a store: it is handed functions (ports)',
  },
  administration: {
    values: ['policy', 'session', 'attributes', 'audit', 'live'],
    types: [],
    because: 'use cases are shared by commands, console and API',
  },
  control: {
    values: ['administration', 'policy', 'session', 'audit', 'live', 'oidc', 'attributes'],
    types: ['config'],
    because: 'pages must never reach the request path',
  },
  stores: {
    values: [],
    types: ['session', 'live', 'administration', 'audit'],
    because: 'an adapter knows the port it implements, nothing of what is stored',
  },
  demo: { values: [], types: [], because: 'it stands outside, as a company’s own provider and apps do' },
  commands: { values: everything, types: everything, because: '' },
  '.': { values: everything, types: everything, because: '' },
}

/** Files beside the folders that everyone but `policy` may import, and what they may import themselves: types of the policy. */
const openFiles = [
  'errors.ts',
  'log.ts',
  'keys.ts',
  'machine-addresses.ts',
  'name-resolution.ts',
  'pictures.ts',
  'rate-limits.ts',
  'redis-address.ts',
  'thread-lane.ts',
]
const wiring = [
  'compose.ts',
  'compose-store.ts',
  'compose-devices.ts',
  'compose-policy.ts',
  'compose-apps.ts',
  'compose-policy-desk.ts',
  'compose-policy-pages.ts',
  'compose-access.ts',
  'compose-administration.ts',
  'compose-life.ts',
  'compose-machine.ts',
  'compose-metrics.ts',
  'compose-tracing.ts',
  'compose-console.ts',
  'compose-overview.ts',
  'compose-people.ts',
  'compose-portal.ts',
  'compose-reach.ts',
  'compose-trail.ts',
  'compose-trial.ts',
  'cli.ts',
  'main.ts',
]
/** An instance and a command on a running system open the store in different ways, and both ways stand in one file. */
const storeWiring = 'compose-store.ts'

/** Package → files or folders that are its only doors. Node's own modules need none, except those named here. */
const doors: Readonly<Record<string, readonly string[]>> = {
  yaml: ['config'],
  // What operations take and give is stated once, for the API, its description and the console.
  zod: ['config', 'control/operations'],
  'openid-client': ['oidc'],
  // The demo's apps verify assertions and open sockets with what anybody's would use.
  jose: ['oidc', 'attributes', 'administration', 'demo'],
  ws: ['demo'],
  undici: ['enforcement'],
  httpxy: ['enforcement'],
  express: ['control'],
  'express-session': ['control'],
  helmet: ['control'],
  eta: ['control'],
  ioredis: ['stores'],
  // The lock on a chain's folder is one of SQLite's: Node has no other that ends with its process.
  'node:sqlite': ['stores', 'audit/folder-lock.ts'],
  'ipaddr.js': ['attributes'],
  'mmdb-lib': ['attributes'],
  bowser: ['attributes'],
  '@peculiar/x509': ['attributes'],
  'reflect-metadata': ['attributes'],
  pino: ['log.ts'],
  '@prometheus-io/client': ['metrics/registry.ts'],
  'rate-limiter-flexible': ['rate-limits.ts'],
  '@opentelemetry/api': ['tracing.ts'],
  '@opentelemetry/exporter-trace-otlp-http': ['tracing.ts'],
  '@opentelemetry/resources': ['tracing.ts'],
  '@opentelemetry/sdk-trace': ['tracing.ts'],
  commander: ['cli.ts', 'commands'],
  'oidc-provider': ['demo'],
}
/** Of Node itself, the policy may have the network block list, and nothing that reads a clock, a file or a socket. */
const policyPackages = ['node:net', 're2js', 'compare-versions', '@marcbachmann/cel-js']

interface Import {
  readonly specifier: string
  readonly isTypeOnly: boolean
  readonly line: number
}

interface Source {
  /** Relative to `src`, with slashes. */
  readonly path: string
  readonly folder: string
  readonly isTest: boolean
  readonly text: string
  readonly tree: ts.SourceFile
  readonly imports: readonly Import[]
}

const root = dirname(fileURLToPath(import.meta.url))
const sources = await readSources()
const code = sources.filter((source) => !source.isTest)

describe('imports', () => {
  it('go only where the map lets them', () => {
    const offences = code.flatMap((source) =>
      source.imports.flatMap((one) => {
        const target = resolveInHouse(source, one)
        const why = target === undefined ? undefined : findReason(source, target, one.isTypeOnly)
        return why === undefined ? [] : [`${source.path}:${one.line} imports ${one.isTypeOnly ? 'types of ' : ''}${target}: ${why}`]
      }),
    )
    expectNone(offences)
  })

  it('bring each package in by its one door', () => {
    const offences = code.flatMap((source) =>
      source.imports.flatMap(({ specifier, line }) => {
        if (specifier.startsWith('.')) return []
        const why = findDoorReason(source, packageOf(specifier))
        return why === undefined ? [] : [`${source.path}:${line} imports ${specifier}: ${why}`]
      }),
    )
    expectNone(offences)
  })

  it('exist, and are written with their extension', () => {
    const paths = new Set(sources.map(({ path }) => path))
    const offences = sources.flatMap((source) =>
      source.imports.flatMap((one) => {
        const target = resolveInHouse(source, one)
        const isThere = target === undefined || target.startsWith('..') || paths.has(target) || paths.has(target.replace(/\.js$/, '.d.ts'))
        return isThere ? [] : [`${source.path}:${one.line} imports ${one.specifier}, which is not there`]
      }),
    )
    expectNone(offences)
  })

  it('make no cycle', () => {
    // Types are erased, and two ports may well speak of each other; what runs has an order.
    const edges = new Map(
      code.map((source) => [
        source.path,
        source.imports.flatMap((one) => (one.isTypeOnly ? [] : (resolveInHouse(source, one) ?? []))).filter((path) => path !== source.path),
      ]),
    )
    expectNone(findCycles(edges).map((cycle) => `${cycle.join(' → ')}: none of them can be read, tested or started first`))
  })
})

describe('no file', () => {
  it('exports a default or everything', () => {
    const offences = sources.flatMap((source) =>
      source.tree.statements.flatMap((statement) => {
        const at = `${source.path}:${lineOf(source.tree, statement)}`
        if (ts.isExportAssignment(statement)) return [`${at} exports a default: a name that every importer may choose is no name`]
        if (ts.isExportDeclaration(statement) && statement.exportClause === undefined)
          return [`${at} exports everything of another file: nobody can see what that is`]
        const modifiers = ts.canHaveModifiers(statement) ? (ts.getModifiers(statement) ?? []) : []
        return modifiers.some(({ kind }) => kind === ts.SyntaxKind.DefaultKeyword)
          ? [`${at} exports a default: a name that every importer may choose is no name`]
          : []
      }),
    )
    expectNone(offences.filter((offence) => !offence.includes('.d.ts')))
  })

  it.each([
    ['process.env', ['config'], 'configuration has one way in, where overrides are listed and secrets are wrapped'],
    ['process.exit', ['main.ts', 'cli.ts'], 'whoever exits loses what others have not written yet'],
    ['process.abort', [], 'whoever exits loses what others have not written yet'],
    ['process.kill', ['main.ts', 'cli.ts'], 'signals belong to the process entry'],
    // `demo` puts the demo together as `compose` does the rest.
    [
      'Date.now',
      ['compose-machine.ts', 'commands/demo.ts', 'demo/serve-app.ts'],
      'everyone else is given `now`, so that a test can move time',
    ],
  ] as const)('uses %s outside its place', (name, places, why) => {
    const offences = code.flatMap((source) =>
      places.some((place) => isWithin(source.path, place))
        ? []
        : findUses(source, name).map((line) => `${source.path}:${line} uses ${name}: ${why}`),
    )
    expectNone(offences)
  })

  it('listens to signals outside the process entry', () => {
    const offences = code.flatMap((source) =>
      ['main.ts', 'cli.ts'].includes(source.path)
        ? []
        : findSignalListeners(source).map(
            (line) => `${source.path}:${line} listens to a signal: two listeners would each think they end the process`,
          ),
    )
    expectNone(offences)
  })

  it('of the policy reads a clock, waits or logs', () => {
    const offences = code
      .filter(({ folder }) => folder === 'policy')
      .flatMap((source) => {
        const found: string[] = []
        visit(source.tree, (node) => {
          const isAsync = node.kind === ts.SyntaxKind.AsyncKeyword || ts.isAwaitExpression(node)
          const isClock =
            (ts.isNewExpression(node) && node.expression.getText(source.tree) === 'Date' && (node.arguments?.length ?? 0) === 0) ||
            (ts.isPropertyAccessExpression(node) &&
              /^(?:Date\.now|performance\.now|Math\.random|console\.\w+)$/.test(node.getText(source.tree)))
          if (isAsync || isClock)
            found.push(`${source.path}:${lineOf(source.tree, node)}: a decision must be the same when it is made again`)
        })
        return found
      })
    expectNone(offences)
  })

  it('lacks its module comment', () => {
    const offences = sources
      .filter(({ text }) => !/^(?:#![^\n]*\n)?\/\*\*[\s\S]+?\*\//.test(text))
      .map(({ path }) => `${path} does not begin with a comment that says what it is for`)
    expectNone(offences)
  })

  it('is longer than 400 lines', () => {
    const offences = code
      .filter(({ text }) => text.split('\n').length > 401)
      .map(({ path, text }) => `${path} has ${text.split('\n').length - 1} lines: it does more than its first paragraph says`)
    expectNone(offences)
  })

  it('lies in a drawer', () => {
    const offences = sources
      .filter(({ path }) => /(?:^|\/)(?:utils?|helpers?|lib|libraries|services|types|constants|interfaces|index)(?:\/|\.ts$)/.test(path))
      .map(({ path }) => `${path}: a name that says nothing collects everything`)
    expectNone(offences)
  })
})

describe('the rules themselves', () => {
  it('know every folder', () => {
    expect([...new Set(code.map(({ folder }) => folder))].filter((folder) => house[folder] === undefined)).toEqual([])
  })

  it.each([
    ['policy/x.ts', 'errors.ts', false],
    ['enforcement/x.ts', 'control/pages.ts', false],
    ['enforcement/x.ts', 'oidc/relying-party.ts', true],
    ['enforcement/x.ts', 'config/instance.ts', true],
    ['control/x.ts', 'enforcement/ports.ts', true],
    ['session/x.ts', 'stores/redis.ts', false],
    ['commands/serve.ts', 'stores/redis.ts', false],
    ['main.ts', 'stores/redis.ts', false],
    ['compose.ts', 'stores/redis.ts', false],
    ['compose-administration.ts', 'stores/redis.ts', false],
    ['administration/x.ts', 'stores/redis.ts', false],
    ['administration/x.ts', 'compose-administration.ts', false],
    ['commands/serve.ts', 'demo/demo.ts', false],
    ['errors.ts', 'policy/decide.ts', false],
    ['attributes/x.ts', 'policy/decide.ts', false],
    ['stores/redis.ts', 'session/sealed.ts', false],
  ])('forbid %s to import %s (type only: %s)', (from, target, isTypeOnly) => {
    expect(findReason({ path: from, folder: folderOf(from) }, target, isTypeOnly)).toBeTypeOf('string')
  })

  it.each([
    ['compose-store.ts', 'stores/redis.ts', false],
    ['commands/token.ts', 'compose-administration.ts', true],
    ['commands/demo.ts', 'demo/demo.ts', false],
    ['enforcement/x.ts', 'policy/decide.ts', false],
    ['enforcement/x.ts', 'errors.ts', false],
    ['stores/redis.ts', 'session/store.ts', true],
    ['attributes/x.ts', 'policy/claim-path.ts', false],
    ['policy/x.ts', 'policy/y.ts', false],
  ])('let %s import %s (type only: %s)', (from, target, isTypeOnly) => {
    expect(findReason({ path: from, folder: folderOf(from) }, target, isTypeOnly)).toBeUndefined()
  })

  it.each([
    ['enforcement/x.ts', 'express'],
    ['enforcement/x.ts', 'zod'],
    ['enforcement/x.ts', 'ioredis'],
    ['policy/x.ts', 'node:fs'],
    ['control/x.ts', 'undici'],
    ['session/x.ts', 'left-pad'],
    ['commands/x.ts', 'ioredis'],
  ])('forbid %s the package %s', (from, name) => {
    expect(findDoorReason({ path: from, folder: folderOf(from) }, name)).toBeTypeOf('string')
  })

  it('find cycles', () => {
    expect(
      findCycles(
        new Map([
          ['a', ['b']],
          ['b', ['c']],
          ['c', ['a', 'd']],
          ['d', []],
        ]),
      ),
    ).toEqual([['a', 'b', 'c', 'a']])
  })
})

/** Why `from` must not import `target`; `undefined` if it may. */
function findReason(from: Pick<Source, 'path' | 'folder'>, target: string, isTypeOnly: boolean): string | undefined {
  const folder = folderOf(target)
  if (folder === from.folder && folder !== '.') return undefined
  if (target.startsWith('..')) return 'it lies outside src'
  if (folder === 'stores' && !isTypeOnly && from.path !== storeWiring)
    return 'only compose-store.ts knows which store there is; others get the port'
  if (folder === 'demo' && from.path !== 'commands/demo.ts') return 'the demo is for the demo command alone'
  if (openFiles.includes(from.path)) {
    return openFiles.includes(target) || (isTypeOnly && folder === 'policy')
      ? undefined
      : 'a file that everyone imports may itself import nothing'
  }
  if (openFiles.includes(target)) return from.folder === 'policy' ? house['policy']?.because : undefined
  if (wiring.includes(target) && !wiring.includes(from.path) && from.folder !== 'commands')
    return 'wiring is imported by the process entry and the commands'

  const allowance = house[from.folder]
  if (allowance === undefined) return 'this folder is not on the map'
  const allowed = isTypeOnly ? [...allowance.values, ...allowance.types] : allowance.values
  return allowed.some((place) => place === '*' || place === folder || place === target) ? undefined : allowance.because
}

function findDoorReason(from: Pick<Source, 'path' | 'folder'>, name: string): string | undefined {
  if (from.folder === 'policy')
    return policyPackages.includes(name) ? undefined : 'the policy takes no package that could read, wait or reach out'
  const places = doors[name]
  if (places === undefined) return name.startsWith('node:') ? undefined : 'it has no door: name the one folder that may import it'
  return places.some((place) => isWithin(from.path, place)) ? undefined : `its door is ${places.join(', ')}`
}

function isWithin(path: string, place: string): boolean {
  return path === place || path.startsWith(`${place}/`)
}

function folderOf(path: string): string {
  return path.includes('/') ? (path.split('/')[0] ?? '.') : '.'
}

function packageOf(specifier: string): string {
  const parts = specifier.split('/')
  return specifier.startsWith('@') ? parts.slice(0, 2).join('/') : (parts[0] ?? specifier)
}

function resolveInHouse(source: Source, { specifier }: Import): string | undefined {
  return specifier.startsWith('.') ? posix.join(posix.dirname(source.path), specifier) : undefined
}

function findCycles(edges: ReadonlyMap<string, readonly string[]>): string[][] {
  const cycles: string[][] = []
  const done = new Set<string>()
  const walk = (path: string, trail: readonly string[]) => {
    const at = trail.indexOf(path)
    if (at !== -1) return void cycles.push([...trail.slice(at), path])
    if (done.has(path)) return
    for (const next of edges.get(path) ?? []) walk(next, [...trail, path])
    done.add(path)
  }
  for (const path of edges.keys()) walk(path, [])
  return cycles
}

function findUses(source: Source, name: string): number[] {
  const lines: number[] = []
  visit(source.tree, (node) => {
    if (ts.isPropertyAccessExpression(node) && node.getText(source.tree) === name) lines.push(lineOf(source.tree, node))
  })
  return lines
}

function findSignalListeners(source: Source): number[] {
  const lines: number[] = []
  visit(source.tree, (node) => {
    if (!ts.isCallExpression(node) || !/^process\.(?:on|once|addListener|prependListener)$/.test(node.expression.getText(source.tree)))
      return
    const [event] = node.arguments
    if (event !== undefined && (!ts.isStringLiteral(event) || event.text.startsWith('SIG'))) lines.push(lineOf(source.tree, node))
  })
  return lines
}

function visit(node: ts.Node, see: (node: ts.Node) => void): void {
  see(node)
  ts.forEachChild(node, (child) => visit(child, see))
}

function lineOf(tree: ts.SourceFile, node: ts.Node): number {
  return tree.getLineAndCharacterOfPosition(node.getStart(tree)).line + 1
}

/** One line an offence, so that the report reads as a list of what to do. */
function expectNone(offences: readonly string[]): void {
  expect(offences.length, `\n${offences.join('\n')}\n`).toBe(0)
}

async function readSources(): Promise<readonly Source[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => {
      const file = join(entry.parentPath, entry.name)
      const path = relative(root, file).replaceAll('\\', '/')
      const text = readFileSync(file, 'utf8')
      const tree = ts.createSourceFile(path, text, ts.ScriptTarget.ES2023)
      const isTest = /\.(?:test|contract|fixture)\.ts$|\.d\.ts$/.test(path)
      return { path, folder: folderOf(path), isTest, text, tree, imports: findImports(tree) }
    })
}

function findImports(tree: ts.SourceFile): readonly Import[] {
  const imports: Import[] = []
  const add = (specifier: ts.Expression | undefined, isTypeOnly: boolean) => {
    if (specifier !== undefined && ts.isStringLiteralLike(specifier))
      imports.push({ specifier: specifier.text, isTypeOnly, line: lineOf(tree, specifier) })
  }
  visit(tree, (node) => {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, isTypeOnlyImport(node.importClause))
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly)
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node.argument.literal as ts.Expression, true)
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) add(node.arguments[0], false)
  })
  return imports
}

function isTypeOnlyImport(clause: ts.ImportClause | undefined): boolean {
  if (clause === undefined) return false
  if (clause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true
  const bindings = clause.namedBindings
  return (
    clause.name === undefined &&
    bindings !== undefined &&
    ts.isNamedImports(bindings) &&
    bindings.elements.every((element) => element.isTypeOnly)
  )
}

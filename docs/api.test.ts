/** `api.md` is the whole truth: every operation with its scope, every scope that a token can have, every word of a refusal with its status. */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { tokenPermissions } from '../src/administration/token-scope.ts'
import { statusByReason } from '../src/control/answers.ts'
import { describeApi } from '../src/control/operations/openapi.ts'
import { type AnyOperation, mostEntries, statusByProblem } from '../src/control/operations/operation.ts'

/** What an operation is given is asked when it is carried out, and here none is: whatever is looked up in this is this again. */
const inert: unknown = new Proxy(() => undefined, {
  get: (_, name) => (name === Symbol.toPrimitive ? undefined : inert),
  apply: () => inert,
})

const page = readFileSync(join(import.meta.dirname, 'api.md'), 'utf8')
const source = join(import.meta.dirname, '../src')
const folder = join(source, 'control/operations')
const files = readdirSync(folder).filter((name) => /^[a-z-]+\.ts$/.test(name))
const themes = await Promise.all(files.map(readTheme))
const operations = themes.flatMap((theme) => theme.operations)

interface Theme {
  readonly makers: readonly string[]
  readonly operations: readonly AnyOperation[]
}

/** The operations of one file, by whatever in it makes some. */
async function readTheme(file: string): Promise<Theme> {
  const exported = (await import(join(folder, file))) as Readonly<Record<string, unknown>>
  const makers = Object.keys(exported).filter((name) => /^create(?:\w+Operations|TrailExport)$/.test(name))
  const made = makers.flatMap((name) => {
    const theme = (exported[name] as (ports: unknown) => object)(inert)
    return 'carryOut' in theme ? [theme as AnyOperation] : (Object.values(theme) as AnyOperation[])
  })
  return { makers, operations: made }
}

/** What stands around the operations refuses with reasons of its own. */
const besides = [
  'bad_request',
  'body_too_large',
  'cross_origin',
  'internal_error',
  'method_not_allowed',
  'path_not_found',
  'rate_limited',
  'session_store_unavailable',
  'audit_unavailable',
] as const

function rowsOf(heading: string): readonly (readonly string[])[] {
  const [, section = ''] = new RegExp(`\\n## ${heading}\\n([\\s\\S]*?)(?=\\n## |$)`).exec(page) ?? []
  const lines = section.split('\n').filter((line) => line.startsWith('| `'))
  return lines.map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
}

describe('api.md', () => {
  test('lists every operation that there is, with its scope, and no other', () => {
    const documented = rowsOf('Operations').map(([request = '', scope = '']) => `${request} ${scope}`)
    // Reports come from devices and management systems, and have a form and a door of their own.
    const existing = operations.map(({ method, path, permission }) => `\`${method} ${path}\` \`${permission}\``)
    expect([...documented].sort()).toEqual([...existing, '`POST /devices/{id}/reports` `devices:report`'].sort())
  })

  test('speaks of operations that are mounted', () => {
    const stated = files.map((file) => readFileSync(join(folder, file), 'utf8').match(/defineOperation\(\{/g)?.length ?? 0)
    expect(operations).toHaveLength(stated.reduce((sum, count) => sum + count, 0))
    expect(new Set(operations.map(({ id }) => id)).size).toBe(operations.length)
    const wiring = readdirSync(source)
      .filter((name) => /^compose[a-z-]*\.ts$/.test(name))
      .map((name) => readFileSync(join(source, name), 'utf8'))
    const isCalled = (name: string, by: readonly string[]) => by.some((text) => text.includes(`${name}(`))
    // Made in a part of the wiring that another part calls.
    const unused = themes
      .flatMap(({ makers }) => makers)
      .filter((maker) => {
        const part = wiring.find((text) => text.includes(`${maker}(`)) ?? ''
        const entries = [...part.matchAll(/export (?:async )?function (compose\w+)/g)].map(([, name = '']) => name)
        const others = wiring.filter((text) => text !== part)
        return !entries.some((name) => isCalled(name, others))
      })
    expect(unused).toEqual([])
  })

  test('lists every scope that a token can have, and no other', () => {
    const scopes = rowsOf('Scopes').flatMap(([names = '']) => [...names.matchAll(/`([a-z]+:[a-z]+)`/g)].map(([, scope]) => scope))
    expect([...scopes].sort()).toEqual([...tokenPermissions].sort())
  })

  test('lists every word of a refusal with its status, and no other', () => {
    const rows = rowsOf('Refusals').map(([word = '', status]) => [word.replaceAll('`', ''), Number(status)])
    const others = { ...statusByProblem, ...Object.fromEntries(besides.map((reason) => [reason, statusByReason[reason]])) }
    expect(Object.fromEntries(rows)).toEqual(others)
    expect(rows).toHaveLength(Object.keys(others).length)
  })

  test('says how long a page of a list is', () => {
    expect(page).toContain(`\`limit\` entries (50, ${mostEntries} at the most)`)
  })

  test('says which version of OpenAPI the description is', () => {
    const { openapi } = describeApi(operations, '1')
    expect(page).toContain(`OpenAPI ${String(openapi).slice(0, 3)}`)
  })
})

/** What the operational log shows of an error and of a failure that goes on, what it never shows, and that nobody forges a line of it. */

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const run = promisify(execFile)

/** Runs statements with a real logger in a process of its own and returns its lines. */
async function linesOf(statements: string): Promise<readonly Record<string, unknown>[]> {
  return (await textOf(statements))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}

async function textOf(statements: string): Promise<string> {
  const program = `
    import { createLogger } from ${JSON.stringify(join(import.meta.dirname, 'log.ts'))}
    import { PosternError } from ${JSON.stringify(join(import.meta.dirname, 'errors.ts'))}
    const log = createLogger('debug')
    ${statements}
    log.flush()`
  const { stdout } = await run(process.execPath, ['--input-type=module-typescript', '-e', program], { maxBuffer: 64 * 1024 * 1024 })
  return stdout
}

test('an error shows its code, its message and its causes', async () => {
  const [line] = await linesOf(`
    const cause = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
    log.error({ err: new PosternError('provider_unavailable', 'no usable answer', { cause }) }, 'a sign-in failed')`)
  expect(line).toMatchObject({
    msg: 'a sign-in failed',
    err: { name: 'PosternError', code: 'provider_unavailable', message: 'no usable answer', cause: { code: 'ECONNREFUSED' } },
  })
})

test('secrets by name, and credentials in a URL, never show', async () => {
  const lines = await linesOf(`
    log.warn({ code: 'S3CRET', password: 'S3CRET', nested: { token: 'S3CRET', deeper: { client_secret: 'S3CRET' } } }, 'x')
    log.warn({ err: new Error('redis://user:S3CRET@redis:6379 is away') }, 'y')`)
  expect(lines).toHaveLength(2)
  expect(JSON.stringify(lines)).not.toContain('S3CRET')
})

test('nothing that a stranger chose forges a line, acts on a terminal, or is long', async () => {
  const active = ['\u0000', '\u0007', '\u001b', '\u007f', '\u0085', '\u009b', '\u200f', '\u2028', '\u2029', '\u202e', '\u2066', '\ufeff']
  const forged = '\\r\\n{"level":"info","event":"login","user":"root"}'
  const text = `${forged}\\u001b[2J${active.map((one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')}`
  const program = `
    const text = "${text.replaceAll('"', '\\"')}"
    log.warn({ path: text, nested: { sub: text, list: [text] }, err: new Error(text, { cause: new Error(text) }) }, 'x')
    log.warn({ path: 'p'.repeat(1_000_000), nested: { sub: 's'.repeat(1_000_000) }, err: new TypeError('e'.repeat(1_000_000)) }, 'y')
    log.warn({ list: Array.from({ length: 1000 }, () => 'z') }, 'z')`
  const raw = await textOf(program)
  const lines = raw.trim().split('\n')
  expect(lines).toHaveLength(3)
  const [odd] = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
  // Kept whole, so that it can be looked at; and nothing of it stands in the line as it is.
  expect(String(odd?.['path'])).toContain('\u2028')
  expect(raw).toMatch(/^[\x20-\x7e…\n]*$/)
  for (const line of lines.slice(1)) expect(line.length).toBeLessThan(12_000)
})

test('an outage is told by its first lines, then by how many more there were, each failure for itself', async () => {
  const lines = await linesOf(`
    import { mock } from 'node:test'
    mock.timers.enable({ apis: ['setTimeout'] })
    const fail = (app, code) =>
      log.warn({ request: 'r' + app, app, err: Object.assign(new Error('no answer'), { code }) }, 'the upstream failed')
    for (let i = 0; i < 100; i += 1) fail('wiki', 'ECONNREFUSED')
    fail('board', 'ECONNREFUSED')
    fail('wiki', 'ETIMEDOUT')
    for (let i = 0; i < 5; i += 1) log.warn({ request: 'r', rule: 'payroll' }, 'alert')
    mock.timers.tick(10_000)
    for (let i = 0; i < 7; i += 1) fail('wiki', 'ECONNREFUSED')
    mock.timers.tick(10_000)
    mock.timers.tick(10_000)
    fail('wiki', 'ECONNREFUSED')
    for (let i = 0; i < 9; i += 1) fail('board', 'EPIPE')`)
  const said = (app: string, code: string) =>
    lines.filter((line) => line['app'] === app && (line['err'] as { code: string }).code === code).map((line) => line['repeated'] ?? 'told')
  expect(said('wiki', 'ECONNREFUSED')).toEqual(['told', 'told', 'told', 97, 7, 'told'])
  expect(said('board', 'ECONNREFUSED')).toEqual(['told'])
  expect(said('wiki', 'ETIMEDOUT')).toEqual(['told'])
  // The end of the process tells what was held.
  expect(said('board', 'EPIPE')).toEqual(['told', 'told', 'told', 6])
  expect(lines.filter((line) => line['msg'] === 'alert')).toHaveLength(5)
  expect(lines.find((line) => line['repeated'] === 97)).toMatchObject({ request: 'rwiki', level: 40, msg: 'the upstream failed' })
})

test('the log and the trail escape the same characters', async () => {
  const { formatAuditLine } = await import('./audit/line.ts')
  const every = Array.from({ length: 0xd800 }, (_, code) => String.fromCharCode(code)).join('')
  const escapedBy = (line: string) => new Set(line.match(/\\u[0-9a-f]{4}/g))
  const trail = new Set<string>()
  // The trail cuts a path, so it is asked in pieces.
  for (let from = 0; from < every.length; from += 512) {
    const path = every.slice(from, from + 512)
    const event = { event: 'access.decided', request: 'r', subject: { kind: 'nobody' }, session: undefined, app: 'a', path } as const
    const rest = { host: '', method: 'GET', query: undefined, effect: 'deny', reason: 'bad_request', rule: undefined, policy: 'p' } as const
    const line = formatAuditLine(
      { ...event, ...rest, address: '', userAgent: undefined, claimsAt: undefined, claimsState: undefined },
      0,
      'i',
    )
    for (const one of escapedBy(line)) trail.add(one)
  }
  const raw = await textOf(`
    for (let from = 0; from < 0xd800; from += 512)
      log.warn({ path: Array.from({ length: 512 }, (_, at) => String.fromCharCode(from + at)).join('') }, 'x')`)
  expect(escapedBy(raw)).toEqual(trail)
})

/**
 * A process that writes an audit trail until it is killed: `node trail.fixture.ts FOLDER relaxed|group NAME`, with a private key as JWK on
 * standard input. Says on standard output, a line each, what must be there whatever happens to it: `group` the requests that were settled,
 * `relaxed` those that were written.
 */

import { createPrivateKey, type JsonWebKey } from 'node:crypto'
import { readFileSync, writeSync } from 'node:fs'
import { createFactsLedger } from './recorded-facts.ts'
import { openAuditTrail } from './trail.ts'

const [, , folder = '', mode = '', name = ''] = process.argv
const jwk = JSON.parse(readFileSync(0, 'utf8')) as JsonWebKey
const key = { kid: 'key-1', privateKey: createPrivateKey({ key: jwk, format: 'jwk' }), publicKey: String(jwk.x) }

const trail = await openAuditTrail({
  folder,
  instance: 'killed',
  process: '1',
  key: () => key,
  now: Date.now,
  log: { warn: () => undefined, error: (...said: unknown[]) => void process.stderr.write(`${JSON.stringify(said)}\n`) },
  gatherMs: 1,
  syncMs: 20,
  checkpointLines: 50,
  segmentBytes: 64 * 1024,
  reserveBytes: 1024,
})

const ledger = createFactsLedger(trail.record, trail.isWritable, trail.segment)
const sessions = Array.from({ length: 20 }, (_, number) => ({
  subject: { kind: 'service', name: `service-${number}`, claims: Object.create(null) } as never,
  signIn: { known: false, reason: 'absent' } as never,
  device: { known: false, reason: 'absent' } as never,
}))

let recorded = 0
/** Requests by the number of their lines, until they are said. */
const unsaid: { readonly seq: number; readonly request: string }[] = []

function record(): string {
  recorded += 1
  const request = `${name}-${recorded}`
  const facts = ledger.refer(sessions[recorded % sessions.length] ?? ({} as never), [])
  trail.record({
    event: 'access.decided',
    request,
    subject: { kind: 'person', issuer: 'https://op.example', sub: 'u1' },
    session: 's1',
    app: 'wiki',
    host: 'wiki.corp.example',
    method: 'GET',
    path: `/pages/${'x'.repeat(recorded % 500)}`,
    query: undefined,
    effect: 'allow',
    reason: 'rule_matched',
    rule: 'staff',
    policy: 'sha256-0',
    address: '192.0.2.1',
    userAgent: 'test',
    claimsAt: 0,
    claimsState: 'fresh',
    facts,
  })
  return request
}

if (mode === 'group') {
  for (let client = 0; client < 8; client += 1) void serve()
} else {
  trail.onWritten(() => {
    const { queuedLines, seq } = trail.status()
    let text = ''
    while ((unsaid[0]?.seq ?? Number.POSITIVE_INFINITY) <= seq - queuedLines) text += `${unsaid.shift()?.request}\n`
    writeSync(1, text)
  })
  setInterval(() => {
    for (let count = 0; count < 10; count += 1) unsaid.push({ request: record(), seq: trail.status().seq })
  }, 1)
}

async function serve(): Promise<void> {
  for (;;) {
    const request = record()
    if (!(await trail.settle())) throw new Error(`${request} could not be settled`)
    writeSync(1, `${request}\n`)
  }
}

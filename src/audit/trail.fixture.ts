/**
 * A process that writes an audit trail until it is killed: `node trail.fixture.ts FOLDER`.
 */

import { createAuditTrail } from './trail.ts'

const [, , folder] = process.argv
if (folder === undefined) throw new Error('FOLDER is missing')

const trail = createAuditTrail({
  folder,
  instance: 'killed',
  process: '1',
  now: Date.now,
  log: { warn: () => undefined, error: () => undefined },
  gatherMs: 0,
  segmentBytes: 256 * 1024,
})

let written = 0
const write = () => {
  for (let index = 0; index < 200; index += 1) {
    written += 1
    trail.record({
      event: 'access.decided',
      request: `request-${written}`,
      subject: { kind: 'person', issuer: 'https://op.example', sub: 'u1' },
      session: 's1',
      app: 'wiki',
      host: 'wiki.corp.example',
      method: 'GET',
      path: `/pages/${'x'.repeat(written % 500)}`,
      query: undefined,
      effect: 'allow',
      reason: 'rule_matched',
      rule: 'staff',
      policy: 'sha256-0',
      address: '192.0.2.1',
      userAgent: 'test',
      claimsAt: 0,
      claimsState: 'fresh',
    })
  }
  setImmediate(write)
}
write()

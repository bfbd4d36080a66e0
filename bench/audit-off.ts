/**
 * Preloaded into a Postern that is to be measured without its audit trail: whoever opens one gets a trail that is told everything and writes
 * nothing. What a request costs beside it is what the trail costs. Loaded by `--import`; nothing of the product knows of it.
 */

import { registerHooks } from 'node:module'

const silentTrail = `
export async function openAuditTrail({ folder }) {
  const status = { queuedLines: 0, queuedBytes: 0, lost: 0, isFull: false, isFailing: false, seq: 0, segment: 1, checkpointAt: undefined, writes: 0, syncs: 0 }
  return {
    folder, chain: 'off-0',
    record() {}, settle: async () => true, isWritable: () => true, segment: () => 1, close: async () => undefined,
    status: () => status, onWritten: () => () => undefined,
  }
}
`

registerHooks({
  load(url, context, nextLoad) {
    return url.endsWith('/src/audit/trail.ts') ? { format: 'module', source: silentTrail, shortCircuit: true } : nextLoad(url, context)
  },
})

/**
 * What the demo's provider remembers, in memory: sessions, grants, codes and tokens, each until it expires.
 *
 * The interface is the adapter interface of `oidc-provider`. A closure for each provider, so that two in one process share nothing.
 */

type Payload = Record<string, unknown>

interface Entry {
  readonly payload: Payload
  readonly timer: NodeJS.Timeout | undefined
}

/** The longest delay a timer takes; everything here lives far shorter. */
const longestDelayMs = 2 ** 31 - 1

/** Makes the adapter factory that `oidc-provider` calls once for each kind of record. */
export function createProviderMemory(): (kind: string) => object {
  const entries = new Map<string, Entry>()

  function remove(key: string): void {
    clearTimeout(entries.get(key)?.timer)
    entries.delete(key)
  }

  function save(key: string, payload: Payload, seconds: number | undefined): void {
    clearTimeout(entries.get(key)?.timer)
    const timer = seconds === undefined ? undefined : setTimeout(() => entries.delete(key), Math.min(seconds * 1000, longestDelayMs))
    timer?.unref()
    entries.set(key, { payload, timer })
  }

  function findBy(kind: string, field: string, value: string): Payload | undefined {
    for (const [key, { payload }] of entries) if (key.startsWith(`${kind}:`) && payload[field] === value) return payload
    return undefined
  }

  return (kind) => ({
    upsert: async (id: string, payload: Payload, seconds?: number) => save(`${kind}:${id}`, payload, seconds),
    find: async (id: string) => entries.get(`${kind}:${id}`)?.payload,
    findByUid: async (uid: string) => findBy(kind, 'uid', uid),
    findByUserCode: async (code: string) => findBy(kind, 'userCode', code),
    destroy: async (id: string) => remove(`${kind}:${id}`),
    consume: async (id: string) => {
      const payload = entries.get(`${kind}:${id}`)?.payload
      if (payload !== undefined) payload['consumed'] = Math.floor((performance.timeOrigin + performance.now()) / 1000)
    },
    revokeByGrantId: async (grantId: string) => {
      for (const [key, { payload }] of entries) if (payload['grantId'] === grantId) remove(key)
    },
  })
}

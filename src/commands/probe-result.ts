/**
 * What a live probe answers, and how it puts failures into words.
 *
 * Messages of errors may hold URLs with credentials and text from a peer, so neither is ever printed as it came.
 */

export interface ProbeResult {
  /** What was tried, such as `client secret` or `upstream wiki`. */
  readonly probe: string
  /** `unknown`: it answered, but nothing can be concluded. */
  readonly outcome: 'good' | 'warning' | 'problem' | 'unknown'
  readonly message: string
  /** What to do about it. */
  readonly hint?: string
}

/** Long enough for a provider that has to wake up, short enough for a person who waits. */
export const probeMs = 8000

/** A result in one call. */
export function result(probe: string, outcome: ProbeResult['outcome'], message: string, hint?: string): ProbeResult {
  return { probe, outcome, message, ...(hint === undefined ? {} : { hint }) }
}

/** A short word for a failure: a system or TLS code. Messages of errors may hold URLs with credentials. */
export function codeOf(error: unknown): string {
  let inner: unknown = error
  for (let depth = 0; depth < 6 && inner instanceof Error; depth += 1) {
    const { code, cause } = inner as NodeJS.ErrnoException
    if (typeof code === 'string' && /^[A-Z]/.test(code)) return code
    if (inner.name === 'TimeoutError' || inner.name === 'AbortError') return 'timeout'
    inner = cause
  }
  return 'no usable answer'
}

/** Text from a peer, bounded and without anything that a terminal would obey. */
export function printable(text: string): string {
  return text.replace(/[^\x21-\x7e]/g, '?').slice(0, 200)
}

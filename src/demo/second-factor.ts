/**
 * The demo's second factor: a code that a real phone would show, shown on the page instead.
 *
 * It stands for the one thing that matters to a relying party: a request that wants level 2 is answered with `acr` 2 and `amr` otp, and
 * only after the person did something more. It proves nothing about anybody, as the rest of this provider does not.
 */

import { createHmac, randomBytes } from 'node:crypto'

/** Levels as `acr` states them: somebody was chosen; and a code was typed besides. */
export const demoLevels = { password: '1', code: '2' } as const

/** Whether a request is content only with the second level (OpenID Connect Core §5.5.1.1, or `acr_values`). */
export function wantsCode(parameters: Readonly<Record<string, unknown>>): boolean {
  const wanted = [...wantedByClaims(parameters['claims']), ...textOf(parameters['acr_values']).split(' ')]
  return wanted.includes(demoLevels.code) && !wanted.includes(demoLevels.password)
}

/** Whether the person is known and the code is all that is missing. */
export function lacksOnlyCode(reasons: readonly string[]): boolean {
  return reasons.length > 0 && reasons.every((reason) => reason === 'essential_acr' || reason === 'essential_acrs')
}

/** The code of one person in one sign-in, six digits. Another run has other ones. */
export function createDemoCodes(): (interaction: string, person: string) => string {
  const secret = randomBytes(32)
  return (interaction, person) => {
    const digest = createHmac('sha256', secret).update(`${interaction}/${person}`).digest()
    return String(digest.readUInt32BE(0) % 1_000_000).padStart(6, '0')
  }
}

function wantedByClaims(claims: unknown): readonly unknown[] {
  let parsed: unknown
  try {
    parsed = JSON.parse(textOf(claims))
  } catch {
    return [] // None, or the library has refused them already.
  }
  const acr = (parsed as { id_token?: { acr?: { value?: unknown; values?: unknown } | null } } | null)?.id_token?.acr
  return [acr?.value, ...(Array.isArray(acr?.values) ? acr.values : [])]
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

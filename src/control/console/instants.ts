/**
 * Instants and spans in the words of the console: near ones by their distance, far ones by their date.
 *
 * Everything is UTC, as the trail is: an admin in one country reads what happened in another. The exact instant stands beside the words, in
 * `datetime` and in the title, so that nothing is lost by saying it shortly. Pure; `now` comes from the request.
 */

/** What the partial `@console/time` prints. */
export interface InstantView {
  /** RFC 3339, in UTC. */
  readonly iso: string
  readonly text: string
}

const minuteMs = 60_000
const hourMs = 60 * minuteMs
const dayMs = 24 * hourMs
/** What was written a moment ago by a clock that goes ahead a little is not in the future. */
const clockSlackMs = 5_000
/** From here on a date says more than a distance. */
const longestDistanceMs = 7 * dayMs
/** The last that `Date` can hold. */
const latestInstant = 8_640_000_000_000_000

const dateForm = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric', timeZone: 'UTC' })

/**
 * An instant in epoch milliseconds as pages say it: `just now`, `5 min ago`, `in 3 h`, and beyond a week `12 Mar 2026`. `undefined` for none,
 * and for a number that is no instant.
 */
export function instantView(at: number | undefined, now: number): InstantView | undefined {
  if (at === undefined || !Number.isFinite(at) || Math.abs(at) > latestInstant) return undefined
  const iso = new Date(at).toISOString()
  const distanceMs = Math.abs(at - now)
  if (distanceMs >= longestDistanceMs) return { iso, text: dateForm.format(at) }
  if (distanceMs < minuteMs) return { iso, text: at > now + clockSlackMs ? 'in a moment' : 'just now' }
  const distance = durationWords(distanceMs)
  return { iso, text: at > now ? `in ${distance}` : `${distance} ago` }
}

/** A span of milliseconds, in its greatest whole unit: `40 s`, `5 min`, `3 h`, `2 days`. Rounded down: what has not passed yet is not said. */
export function durationWords(spanMs: number): string {
  const ms = Math.max(0, spanMs)
  if (ms < minuteMs) return `${Math.floor(ms / 1000)} s`
  if (ms < hourMs) return `${Math.floor(ms / minuteMs)} min`
  if (ms < dayMs) return `${Math.floor(ms / hourMs)} h`
  const days = Math.floor(ms / dayMs)
  return days === 1 ? '1 day' : `${days} days`
}

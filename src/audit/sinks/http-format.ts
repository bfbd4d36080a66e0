/**
 * The four forms in which batches go over HTTP: how lines are written, and what an answer says became of them.
 *
 *   json      an array of the lines as they are; the chain's name in `Postern-Chain`
 *   splunk    HTTP Event Collector: one object an event, one after the other; accepted is 200 with code 0
 *   elastic   bulk `create` under an id made of chain, number and hash, so that a line that comes twice is there once (409)
 *   otlp      OpenTelemetry logs as OTLP/HTTP JSON: 64-bit numbers as strings, the line as the body of its record
 *
 * Lines are never parsed and written anew: their bytes stay evidence. Elastic alone cannot have both the texts of `facts.recorded` and the
 * objects of decisions under the one name `facts`; there the former is called `facts_json`.
 */

import { hashLine } from '../chain.ts'
import type { FollowedLine } from '../follow-batch.ts'
import { readLineFacts, type Severity } from './line-severity.ts'
import type { HttpSettings } from './sink-settings.ts'

/** What became of one line. */
export type LineOutcome = 'taken' | 'later' | 'refused'

/** How a form writes a batch, and reads an answer with status 2xx. */
export interface HttpForm {
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  /** `asText` are lines that were refused as objects. */
  encode(chain: string, lines: readonly FollowedLine[], asText: ReadonlySet<FollowedLine>): Buffer
  /** One outcome for each line; `undefined`: this is no answer of such a receiver. */
  judge(body: Buffer, count: number): readonly LineOutcome[] | undefined
}

/** The form that the settings ask for. */
export function createHttpForm(settings: HttpSettings): HttpForm {
  switch (settings.format) {
    case 'json':
      return jsonForm(settings)
    case 'splunk':
      return splunkForm(settings)
    case 'elastic':
      return elasticForm(settings)
    case 'otlp':
      return otlpForm(settings)
  }
}

function authorization(scheme: string, { token }: HttpSettings): Readonly<Record<string, string>> {
  return token === undefined ? {} : { authorization: `${scheme} ${token.reveal()}` }
}

const asJson = { 'content-type': 'application/json' }

/** The written path, or the one that the product documents where only its address is written. */
function withPath(url: URL, usual: string): URL {
  const full = new URL(url)
  if (full.pathname === '/') full.pathname = usual
  return full
}

function allTaken(count: number): readonly LineOutcome[] {
  return new Array<LineOutcome>(count).fill('taken')
}

function jsonForm(settings: HttpSettings): HttpForm {
  return {
    url: settings.url,
    headers: { ...asJson, ...authorization('Bearer', settings) },
    encode: (_chain, lines) => Buffer.from(`[${lines.map(({ bytes }) => bytes.toString('utf8')).join(',\n')}]`),
    judge: (_body, count) => allTaken(count),
  }
}

function splunkForm(settings: HttpSettings): HttpForm {
  return {
    url: withPath(settings.url, '/services/collector/event'),
    headers: { ...asJson, ...authorization('Splunk', settings) },
    encode: (chain, lines) =>
      Buffer.from(
        lines
          .map(({ bytes, seq }) => {
            const { at } = readLineFacts(bytes)
            const time = at === undefined ? '' : `"time":${(Date.parse(at) / 1000).toFixed(3)},`
            const fields = JSON.stringify({ chain, ...(seq === undefined ? {} : { seq: String(seq) }) })
            return `{${time}"source":${JSON.stringify(`postern:${chain}`)},"sourcetype":"_json","fields":${fields},"event":${bytes.toString('utf8')}}`
          })
          .join('\n'),
      ),
    judge: (body, count) => (parseAnswer(body)?.['code'] === 0 ? allTaken(count) : undefined),
  }
}

/** Refusals that are about this very document; every other one may be mended by an operator, and its line waits. */
const poisonTypes: ReadonlySet<unknown> = new Set([
  'mapper_parsing_exception',
  'document_parsing_exception',
  'strict_dynamic_mapping_exception',
  'illegal_argument_exception',
])

function elasticForm(settings: HttpSettings): HttpForm {
  const url = new URL(settings.url)
  if (!url.pathname.endsWith('/_bulk')) url.pathname = `${url.pathname.replace(/\/$/, '')}/_bulk`
  url.search = '?filter_path=errors,items.*.status,items.*.error.type'
  return {
    url,
    headers: { 'content-type': 'application/x-ndjson', ...authorization('ApiKey', settings) },
    encode: (chain, lines, asText) =>
      Buffer.from(
        lines
          .map((line) => {
            const action = { create: { _index: settings.index, _id: elasticId(chain, line) } }
            return `${JSON.stringify(action)}\n${elasticDocument(chain, line, asText.has(line))}\n`
          })
          .join(''),
      ),
    judge: (body, count) => {
      const answer = parseAnswer(body)
      if (answer?.['errors'] === false) return allTaken(count)
      const items = answer?.['items']
      if (!Array.isArray(items) || items.length !== count) return undefined
      return items.map((item: { create?: { status?: unknown; error?: { type?: unknown } } } | null): LineOutcome => {
        const status = Number(item?.create?.status)
        if ((status >= 200 && status < 300) || status === 409) return 'taken'
        return status === 400 && poisonTypes.has(item?.create?.error?.type) ? 'refused' : 'later'
      })
    },
  }
}

/** The hash keeps apart what a power cut gave the same number: lines that were sent and then lost here, and those written after. */
function elasticId(chain: string, { bytes, seq }: FollowedLine): string {
  return `${chain}-${seq ?? 'x'}-${hashLine(bytes).slice(0, 12)}`
}

function elasticDocument(chain: string, { bytes, seq }: FollowedLine, isText: boolean): string {
  const { at, event } = readLineFacts(bytes)
  const text = bytes.toString('utf8')
  const head = `{"@timestamp":${JSON.stringify(at ?? null)},"trail":${JSON.stringify(chain)},`
  if (isText) return `${head}"seq":${seq ?? null},"event":${JSON.stringify(event)},"line":${JSON.stringify(text)}}`
  const fields = text.slice(1)
  return head + (event === 'facts.recorded' ? fields.replace(',"facts":"', ',"facts_json":"') : fields)
}

/** SeverityNumber of the OpenTelemetry log data model for those of syslog. */
const otlpSeverities: Readonly<Record<Severity, number>> = { alert: 19, error: 17, warning: 13, notice: 10, informational: 9 }

function otlpForm(settings: HttpSettings): HttpForm {
  return {
    url: withPath(settings.url, '/v1/logs'),
    headers: { ...asJson, ...authorization('Bearer', settings) },
    encode: (chain, lines) => {
      const logRecords = lines.map((line) => otlpRecord(line, chain))
      const resource = { attributes: [text('service.name', 'postern'), text('postern.audit.chain', chain)] }
      return Buffer.from(JSON.stringify({ resourceLogs: [{ resource, scopeLogs: [{ scope: { name: 'postern.audit' }, logRecords }] }] }))
    },
    // What was rejected must not be sent again (OTLP specification, partial success), and which ones they were is not said.
    judge: (body, count) => {
      const partial = parseAnswer(body)?.['partialSuccess'] as { rejectedLogRecords?: unknown } | null | undefined
      const rejected = Math.min(count, Math.max(0, Number(partial?.rejectedLogRecords ?? 0) || 0))
      return [...new Array<LineOutcome>(count - rejected).fill('taken'), ...new Array<LineOutcome>(rejected).fill('refused')]
    },
  }
}

function otlpRecord({ bytes, seq }: FollowedLine, chain: string): object {
  const { at, event, severity, app, effect, reason } = readLineFacts(bytes)
  const time = at === undefined ? '0' : `${Date.parse(at)}000000`
  return {
    timeUnixNano: time,
    observedTimeUnixNano: time,
    severityNumber: otlpSeverities[severity],
    severityText: severity,
    body: { stringValue: bytes.toString('utf8') },
    attributes: [
      text('event.name', event),
      ...(seq === undefined
        ? []
        : [{ key: 'postern.audit.seq', value: { intValue: String(seq) } }, text('log.record.uid', `${chain}-${seq}`)]),
      ...(app === undefined ? [] : [text('postern.app', app)]),
      ...(effect === undefined ? [] : [text('postern.effect', effect)]),
      ...(reason === undefined ? [] : [text('postern.reason', reason)]),
    ],
  }
}

function text(key: string, value: string): object {
  return { key, value: { stringValue: value } }
}

function parseAnswer(body: Buffer): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : undefined
  } catch {
    // A page of a proxy in between, or nothing at all.
    return undefined
  }
}

/**
 * The section `tracing:` of the instance configuration as it is written: where spans go, and how many.
 *
 * Absent, no span is made and nothing of OpenTelemetry is loaded. What authenticates us to the collector is a secret like any other
 * (`NAME`, `NAME_file` or `${ENV}`), resolved by the loader.
 */

import { z } from 'zod'
import type { Secret, TracingConfiguration } from './instance.ts'
import type { Partially } from './parse-value.ts'
import { converted, refuse, text } from './plain-values.ts'
import { isRefusal, parseUpstreamUrl } from './web-address.ts'

/** A field name as collectors ask for one. The form with a path is `NAME_file`, so a name itself has no underscore. */
const headerName = z.string({ error: 'a header name' }).superRefine((value, context) => {
  if (!/^[A-Za-z0-9-]{1,64}(?:_file)?$/.test(value))
    refuse(context, 'this is not a header name', { expected: 'a name such as `authorization`, or `authorization_file` with a path' })
})

const endpoint = converted<URL>('the address of a collector, such as `http://127.0.0.1:4318`', (written) => {
  const parsed = parseUpstreamUrl(written)
  if (isRefusal(parsed)) return parsed
  return parsed.url.pathname.endsWith('/v1/traces')
    ? { refusal: 'this is the address of the traces, and the path is added', suggestion: 'remove `/v1/traces`' }
    : parsed.url
})

export const tracingSchema = z.strictObject(
  {
    endpoint: endpoint.meta({
      description: 'Base address of an OpenTelemetry collector that takes OTLP over HTTP; `/v1/traces` is added.',
      examples: ['http://127.0.0.1:4318'],
    }),
    sample: z
      .number({ error: 'a number from 0 to 1' })
      .superRefine((value, context) => {
        if (!(value >= 0 && value <= 1)) refuse(context, 'this must be a number from 0 to 1')
      })
      .default(0.1)
      .meta({ description: 'Part of the requests that are traced; those that a trusted proxy chose are traced besides.' }),
    service_name: text('a name', 100).default('postern').meta({ description: 'What the spans name as their service.' }),
    headers: z
      .record(headerName, z.string({ error: `text, or \${NAME} for an environment variable` }), {
        error: 'a map of header names to secrets',
      })
      .prefault({})
      .meta({
        description: 'Sent with every batch; write NAME, or NAME_file with a path.',
        examples: [{ authorization: `\${COLLECTOR_AUTHORIZATION}` }],
      }),
  },
  { error: 'a map such as `{ endpoint: http://127.0.0.1:4318, sample: 0.1 }`' },
)

export type WrittenTracing = z.output<typeof tracingSchema>

/** The settings of the spans; `undefined` where there are none, or a part of them was refused. */
export function buildTracing(
  written: Partially<WrittenTracing> | undefined,
  headers: ReadonlyMap<string, Secret>,
): TracingConfiguration | undefined {
  const { endpoint: address, sample, service_name: serviceName } = written ?? {}
  if (address === undefined || sample === undefined || serviceName === undefined) return undefined
  return { endpoint: address as URL, sample, serviceName, headers }
}

/**
 * `audit.sinks` as it is written: receivers of the trail, one map each, told apart by `type`.
 *
 * Which keys belong to which type, and what needs files or the environment, is in `audit-sink-settings.ts`. One schema for all types, so
 * that a key that belongs to another type is reported as that and not as unknown.
 */

import { z } from 'zod'
import { converted, id, path, refuse, text } from './plain-values.ts'
import { isLoopbackName, isRefusal, parseHostPort, parseUpstreamUrl } from './web-address.ts'

/** RFC 5424 §6.2.1, by the names of syslog.conf. */
export const syslogFacilities = [
  'kern',
  'user',
  'mail',
  'daemon',
  'auth',
  'syslog',
  'lpr',
  'news',
  'uucp',
  'cron',
  'authpriv',
  'ftp',
  'ntp',
  'audit',
  'alert',
  'clock',
  'local0',
  'local1',
  'local2',
  'local3',
  'local4',
  'local5',
  'local6',
  'local7',
] as const

/** A syslog receiver. */
export interface SyslogAddress {
  readonly kind: 'tls' | 'tcp'
  readonly host: string
  readonly port: number
}

const addressWords = 'the address of a syslog receiver, such as `tls://log.corp.example:6514`'

const syslogAddress = converted<SyslogAddress>(addressWords, (written) => {
  const [, scheme, rest = ''] = /^([a-z0-9+.-]+):\/\/(.*)$/i.exec(written) ?? []
  const kind = scheme?.toLowerCase()
  if (kind === 'udp') return { refusal: 'over UDP lines are lost without a trace', suggestion: 'write `tls://…` or `tcp://…`' }
  if (kind !== 'tls' && kind !== 'tcp')
    return { refusal: 'the scheme of this address is missing or not known', suggestion: 'write `tls://…`' }
  // RFC 5425 §4.1 gives TLS its port; plain TCP has none that is certain.
  const parsed = parseHostPort(kind === 'tls' && !/:\d+$/.test(rest) ? `${rest}:6514` : rest)
  if (isRefusal(parsed)) return { refusal: parsed.refusal, expected: addressWords }
  return parsed.port === 0 ? { refusal: 'port 0 is no address' } : { kind, ...parsed }
})

const urlWords = 'the URL of a receiver, such as `https://splunk.corp.example:8088`'

const receiverUrl = converted<URL>(urlWords, (written) => {
  const parsed = parseUpstreamUrl(written)
  if (isRefusal(parsed)) return { expected: urlWords, ...parsed }
  if (parsed.url.protocol === 'https:' || isLoopbackName(parsed.url.hostname)) return parsed.url
  return {
    refusal: 'over http:// anybody on the way could read the trail and the token',
    expected: 'https://; http:// only on loopback and *.localhost',
    suggestion: `write \`https://${parsed.url.host}…\``,
  }
})

const sink = z
  .strictObject(
    {
      name: id.optional().meta({
        description: 'Tells its remembered position apart from others; the type if left out. A new name starts at the oldest line.',
      }),
      type: z
        .enum(['stdout', 'file', 'syslog', 'http'], { error: '`stdout`, `file`, `syslog` or `http`' })
        .meta({ description: 'How lines are sent.' }),
      path: path.optional().meta({ description: 'Of `file`: where lines are appended.' }),
      address: syslogAddress.optional().meta({ description: 'Of `syslog`: the receiver.', examples: ['tls://log.corp.example:6514'] }),
      facility: z.enum(syslogFacilities).optional().meta({ description: 'Of `syslog`: the facility; `authpriv` if left out.' }),
      url: receiverUrl.optional().meta({ description: 'Of `http`: the receiver.', examples: ['https://splunk.corp.example:8088'] }),
      format: z
        .enum(['json', 'splunk', 'elastic', 'otlp'])
        .optional()
        .meta({ description: 'Of `http`: a JSON array (if left out), Splunk HEC, Elastic bulk, or OpenTelemetry logs.' }),
      index: text('the name of an index or data stream', 200).optional().meta({ description: 'Of `elastic`: index or data stream.' }),
      token: z
        .string({ error: `text, or \${NAME} for an environment variable` })
        .optional()
        .meta({ description: 'Of `http`: sent as the form asks for it. Better: token_file.' }),
      token_file: path.optional().meta({ description: 'File with the token; one trailing line break is cut.' }),
      ca_file: path.optional().meta({ description: "PEM certificates of the receiver's authority, in place of the public ones." }),
      cert_file: path.optional().meta({ description: 'Of `syslog`: PEM certificate shown to the receiver.' }),
      key_file: path.optional().meta({ description: 'Of `syslog`: PEM private key of that certificate.' }),
    },
    { error: 'a sink, such as `{ type: syslog, address: "tls://log.corp.example:6514" }`' },
  )
  // What is missing, and only here: a key that was refused is no missing one.
  .superRefine((written, context) => {
    const miss = (key: string, expected: string) => refuse(context, `the key \`${key}\` is missing`, { expected })
    if (written.type === 'file' && written.path === undefined) miss('path', 'the file that lines are appended to')
    if (written.type === 'syslog' && written.address === undefined) miss('address', addressWords)
    if (written.type !== 'http') return
    if (written.url === undefined) miss('url', urlWords)
    if (written.format === 'elastic' && written.index === undefined) miss('index', 'the index or data stream that lines go to')
    if (written.format === 'splunk' && written.token === undefined && written.token_file === undefined)
      refuse(context, 'Splunk takes no event without a token', { expected: '`token_file` or `token`' })
  })

export const auditSinksSchema = z.array(sink, { error: 'a list of sinks' })

export type WrittenSink = z.output<typeof sink>

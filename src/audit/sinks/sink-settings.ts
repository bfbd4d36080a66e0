/**
 * What the sinks are told about their receivers: the little of the configuration that they need.
 *
 * Everything here was judged when the configuration was loaded: `https:` unless the receiver is this very machine, files that can be
 * read, names that are different from each other.
 */

/** A secret that is read where it is sent and nowhere else. */
export interface RevealedToken {
  reveal(): string
}

/** Lines between those of the operational log. */
export interface StdoutSettings {
  readonly type: 'stdout'
}

/** Lines at the end of a file of the operator's. */
export interface FileSettings {
  readonly type: 'file'
  /** Absolute. */
  readonly path: string
}

/** RFC 5424 over TCP or TLS. */
export interface SyslogSettings {
  readonly type: 'syslog'
  readonly host: string
  readonly port: number
  /** `undefined`: plain TCP. Without `caFile` the authorities of the runtime count. */
  readonly tls:
    | { readonly caFile: string | undefined; readonly certFile: string | undefined; readonly keyFile: string | undefined }
    | undefined
  /** 0–23. */
  readonly facility: number
}

/** Batches as requests. */
export interface HttpSettings {
  readonly type: 'http'
  readonly url: URL
  readonly format: 'json' | 'splunk' | 'elastic' | 'otlp'
  readonly token: RevealedToken | undefined
  /** Elastic's index or data stream. */
  readonly index: string | undefined
  readonly caFile: string | undefined
}

export type SinkSettings = StdoutSettings | FileSettings | SyslogSettings | HttpSettings

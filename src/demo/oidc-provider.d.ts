/**
 * The part of `oidc-provider` that the demo uses, as types: the package ships none.
 *
 * Deliberately narrow. Whoever needs more of the library adds the member here, so that this file stays the list of what
 * we rely on.
 */

declare module 'oidc-provider' {
  import type { IncomingMessage, ServerResponse } from 'node:http'

  export interface Grant {
    addOIDCScope(scope: string): void
    save(): Promise<string>
  }

  export interface ProviderContext {
    type: string
    status: number
    body: unknown
    readonly path: string
    set(name: string, value: string): void
    readonly oidc: {
      readonly provider: Provider
      readonly client: { readonly clientId: string; grantTypeAllowed(type: string): boolean } | undefined
      readonly session: { readonly accountId?: string; grantIdFor(clientId: string): string | undefined }
      readonly result?: { readonly consent?: { readonly grantId?: string } }
      readonly entities: { readonly IdTokenHint?: unknown }
      readonly params?: Readonly<Record<string, unknown>>
    }
  }

  export interface InteractionDetails {
    readonly uid: string
    readonly prompt: { readonly name: string; readonly reasons: readonly string[] }
    readonly params: Readonly<Record<string, unknown>>
    readonly session?: { readonly accountId: string }
  }

  export type InteractionResult =
    | { readonly login: { readonly accountId: string; readonly acr: string; readonly amr: readonly string[]; readonly remember: boolean } }
    | { readonly error: string; readonly error_description: string }

  export class Provider {
    constructor(issuer: string, configuration: Readonly<Record<string, unknown>>)
    readonly Grant: {
      new (of: { readonly clientId: string; readonly accountId: string }): Grant
      find(id: string): Promise<Grant | undefined>
    }
    use(middleware: (context: ProviderContext, next: () => Promise<void>) => Promise<void>): this
    on(event: string, listener: (...parts: readonly unknown[]) => void): this
    callback(): (request: IncomingMessage, response: ServerResponse) => Promise<void>
    interactionDetails(request: IncomingMessage, response: ServerResponse): Promise<InteractionDetails>
    interactionFinished(
      request: IncomingMessage,
      response: ServerResponse,
      result: InteractionResult,
      options: { readonly mergeWithLastSubmission: boolean },
    ): Promise<void>
  }
}

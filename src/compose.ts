/**
 * The composition root: every long-lived object is made here and handed to whoever needs it. Read it as the wiring diagram.
 *
 * Nothing here decides anything. Things start in the order of need: keys, store, trail, provider, sessions, policy, pages, control
 * plane, listener, operations. They stop the other way round. A port that needs something made later is given a function.
 */

import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { createBreakGlassDoor } from './administration/break-glass.ts'
import { startResealing } from './administration/resealing.ts'
import { compileCidrs, readClientAddress } from './attributes/client-address.ts'
import { createDeviceBinding, noBinding } from './attributes/device-binding.ts'
import { createEnvironmentReader } from './attributes/environment-facts.ts'
import { watchPlaces } from './attributes/place-files.ts'
import type { AskedConnections } from './attributes/presented-certificates.ts'
import { createServiceCallers } from './attributes/service-callers.ts'
import { compileSubjectReader } from './attributes/subject-facts.ts'
import type { AuditEvent } from './audit/event.ts'
import { createRedaction, redactTrail } from './audit/redaction.ts'
import { composeAccess, createEventIntake } from './compose-access.ts'
import { composeAudit } from './compose-audit.ts'
import { composeConsole } from './compose-console.ts'
import { composeDevices } from './compose-devices.ts'
import { now, readVersion } from './compose-machine.ts'
import { composeMetrics, countEvent, measureStore } from './compose-metrics.ts'
import { composePolicy } from './compose-policy.ts'
import { findForbidden, findIssuerReach, findReach } from './compose-reach.ts'
import { findReadiness, listenForAdministration, openStore } from './compose-store.ts'
import { composeTracing } from './compose-tracing.ts'
import type { InstanceConfiguration } from './config/instance.ts'
import { createControlPlane } from './control/app.ts'
import { createAppLogos } from './control/app-logos.ts'
import { createPageRenderer } from './control/page-renderer.ts'
import { createSignOut, formActionOriginsOf } from './control/sign-out.ts'
import { createForwarding } from './enforcement/forwarding.ts'
import { createListener } from './enforcement/listener.ts'
import type { EnforcementPorts } from './enforcement/ports.ts'
import { createKeysFile, watchKeys } from './keys-file.ts'
import { createLive } from './live/create-live.ts'
import type { Logger } from './log.ts'
import { createRelyingParty } from './oidc/openid-relying-party.ts'
import { createProviderFetch, observed } from './oidc/provider-fetch.ts'
import type { RelyingParty } from './oidc/relying-party.ts'
import { startOperations } from './operations.ts'
import { createSealedCookies } from './session/cookies.ts'
import { createKeptPosts } from './session/kept-posts.ts'
import { createSessions, keepEndsForSeconds } from './session/session-service.ts'

export interface StartOptions {
  readonly configuration: InstanceConfiguration
  readonly log: Logger
  /** Puts the demo's banner on every page of ours. */
  readonly isDemo: boolean
}

export interface RunningPostern {
  /** Where the listener listens. */
  readonly address: { readonly address: string; readonly port: number }
  /** Reads the policy again; resolves to whether the files are what is in force. */
  reload(): Promise<boolean>
  /** Drains and closes everything; resolves to whether all exchanges ended by themselves in time. */
  stop(drainMs: number): Promise<boolean>
  /** Gives up on what is open and only saves the audit trail; the process must end right after. */
  halt(): Promise<void>
}

/** A provider that works has answered discovery by then. */
const providerPatienceMs = 3000

/** Two looks that agree make a change, so that one of a policy of usual size is found within two of these. */
const policyLookMs = 100

/** Databases of places change once a week, and are taken up within two of these. */
const placesLookMs = 10_000

/** The keys of an issuer of access tokens, from name look-up to the last byte. A caller waits for it with its first token. */
const issuerTimeoutSeconds = 4

const monotonicNow = () => performance.now()

/** Starts an instance and resolves once it accepts connections. Rejects with `PosternError` if it cannot; then nothing is left open. */
export async function startPostern({ configuration, log, isDemo }: StartOptions): Promise<RunningPostern> {
  const version = readVersion()
  const accessUrl = configuration.url
  const closers: (() => void | Promise<void>)[] = []
  const closeAll = async () => {
    for (const close of closers.reverse()) {
      try {
        await close()
      } catch (error) {
        // What fails to close must not keep the rest open, nor hide why it is all being closed.
        log.error({ err: error }, 'a part could not be closed')
      }
    }
  }

  try {
    await mkdir(configuration.dataDir, { recursive: true, mode: 0o700 })
    // With a shared store every instance needs the same keys: one that made its own could read nobody's sessions.
    if (configuration.session.store.kind === 'embedded') createKeysFile(configuration.keysFile, now())
    const { metrics, findWarnings } = composeMetrics({ now, version }, () => ({
      audit: evidence,
      certificates,
      forwarding,
      keys: watchedKeys,
      listener,
      live,
      policy,
      relyingParty,
      sessions,
    }))
    closers.push(() => metrics.close())
    const tracing = await composeTracing(configuration.tracing, { version, log, now, monotonicNow })
    closers.push(() => tracing.close())
    const watchedKeys = watchKeys(configuration.keysFile, {
      log,
      now,
      onRotated: (kid) => audit.record({ event: 'keys.rotated', kid }),
      onAuditRotated: (kid) => audit.record({ event: 'keys.rotated', kid }),
      onSealingRotated: () => resealing.request(),
    })
    const keys = watchedKeys.current
    closers.push(() => watchedKeys.close())

    const opened = await openStore(configuration, { now, log, onUnavailable: () => metrics.countStoreError() })
    closers.push(() => opened.close())
    const store = tracing.store(measureStore(opened, metrics, monotonicNow))
    const resealing = startResealing({ store, keys, log })
    closers.push(() => resealing.close())

    const evidence = await composeAudit({ configuration, store, keys, log, now, monotonicNow, metrics })
    closers.push(() => evidence.close())
    const redaction = createRedaction({ fields: configuration.audit.redact, groupClaims: configuration.provider.claims.groups })
    const audit = redactTrail(evidence.trail, redaction)

    const record = (event: AuditEvent) => {
      audit.record(event)
      countEvent(metrics, event)
    }

    const access = composeAccess({
      configuration,
      store,
      keys,
      log,
      now,
      ends: {
        endSessions: (...asked) => sessions.endSessions(...asked),
        endSubject: (...asked) => sessions.endSubject(...asked),
      },
      record,
    })

    const live = createLive({
      store,
      loadLocks: access.locks.loadAll,
      monotonicNow,
      keepSeconds: keepEndsForSeconds(configuration.session),
      log,
    })
    closers.push(() => live.close())

    const commands = await listenForAdministration(configuration, {
      store,
      record: createEventIntake({ audit, record, log }),
      log,
    })
    closers.push(() => commands.close())

    const openedProvider = createRelyingParty({
      configuration: configuration.provider,
      accessUrl,
      now,
      log,
      observe: metrics.observeProvider,
    })
    closers.push(() => openedProvider.close())
    const relyingParty = tracing.provider(openedProvider)

    const sessions = createSessions({
      store,
      live,
      keys,
      now,
      monotonicNow,
      settings: configuration.session,
      providerSettings: configuration.provider,
      refresh: async (...asked) => {
        const result = await relyingParty.refresh(...asked)
        // The third outcome is an event of the session.
        if (result.outcome !== 'refreshed') metrics.countSessionRefresh(result.outcome)
        return result
      },
      onEvent: record,
      log,
    })
    closers.push(() => sessions.close())
    const cookies = createSealedCookies({ keys, now })
    const readSubject = compileSubjectReader(configuration.provider)
    const askedConnections: AskedConnections = new WeakMap()
    const trustedProxies = compileCidrs(configuration.trustedProxies)
    const certificates =
      configuration.clientCertificate === undefined
        ? undefined
        : // Its library is twenty megabytes that nobody else needs.
          (await import('./attributes/client-certificate.ts')).createCertificateReader({
            settings: configuration.clientCertificate,
            isTrustedPeer: (address) => trustedProxies.contains(readClientAddress(address, [], trustedProxies)),
            asked: askedConnections,
            now,
            log,
          })
    closers.push(() => certificates?.close())
    const inventory = access.devices
    const devices = composeDevices({ configuration, inventory, store, keys, log, record, audit, certificates, now, monotonicNow })
    live.listen(devices.hear)
    const places = await watchPlaces(configuration.facts, { log, lookEveryMs: placesLookMs })
    closers.push(() => places.close())
    const readEnvironment = createEnvironmentReader(places)
    const issuerConnections = createProviderFetch(issuerTimeoutSeconds, findIssuerReach(configuration))
    closers.push(() => issuerConnections.close())
    const issuerFetch = observed(issuerConnections, () => 'issuer_keys', metrics.observeProvider)

    const policy = await composePolicy({
      configuration,
      log,
      now,
      revisions: { store, keys, live, audit, record, monotonicNow },
      lookEveryMs: policyLookMs,
      onReload: (outcome, snapshot, problems, change) => {
        record({ event: outcome === 'loaded' ? 'policy.loaded' : 'policy.refused', policy: snapshot.version, problems, ...change })
        if (outcome === 'refused') return metrics.countPolicyLoadFailure()
        metrics.setPolicy(snapshot.version, now())
        forwarding.retain(policy.document().apps)
        logos.publish(policy.document().apps)
        live.announce({ kind: 'policy_changed', writtenAt: live.now() })
      },
    })
    closers.push(() => policy.close())
    metrics.setPolicy(policy.current().version, now())
    record({ event: 'policy.loaded', policy: policy.current().version, problems: 0, author: policy.firstAuthor })

    const viewsFolder = join(import.meta.dirname, '..', 'views')
    const pages = createPageRenderer({ viewsFolder, brand: configuration.brand, isDemo })
    const logos = createAppLogos(pages)
    logos.publish(policy.document().apps)
    const { tokens } = devices
    let isStopping = false
    const checkReadiness = () => findReadiness({ store, relyingParty, policy, audit, isStopping })
    const console = composeConsole({
      ...{ configuration, store, keys, log, now, monotonicNow, version, live, policy, access, tokens, readEnvironment },
      ...{ checkReadiness, findWarnings },
      audit: { ...audit, record },
      localConnections: () => listener.listed,
    })
    closers.push(() => console.close())
    const answerAccessHost = createControlPlane({
      accessUrl,
      relyingParty,
      sessions,
      store,
      cookies,
      keys,
      audit: { ...audit, record },
      pages,
      log,
      now,
      apps: () => policy.current().routes.routes,
      logoOf: logos.find,
      live,
      personal: console.personal,
      sessionLimits: configuration.session,
      readSubject,
      readEnvironment,
      devices: devices.reader,
      binding: certificates === undefined ? noBinding : createDeviceBinding(certificates, devices.reader),
      deviceReports: devices.reports,
      breakGlass: createBreakGlassDoor({ ...access, sessions, now }),
      countBreakGlass: () => metrics.countAlert('break_glass'),
      console: console.settings,
      api: console.api,
    })

    const handleAccessHost = tracing.accessHost(answerAccessHost)

    const ports: EnforcementPorts = {
      sessions,
      cookies,
      keys,
      audit: { ...audit, record },
      live,
      log,
      readSubject,
      readEnvironment,
      devices: devices.reader,
      callers: createServiceCallers({ accessUrl, fetch: issuerFetch.fetch, now, log }),
      now,
      monotonicNow,
      renderRefusal: pages.refusalPage,
      renderSignOut: (view) =>
        pages.signOutPage({ ...view, formActionOrigins: [accessUrl.origin, ...formActionOriginsOf({ relyingParty })] }),
      renewal: pages.renewal,
      keptPosts: createKeptPosts({ store, keys, maxBytes: configuration.limits.keptPostBytes, log }),
      renderKeptPost: pages.keptPostPage,
      renderNotKept: pages.notKeptPage,
      findAsset: pages.findAsset,
      signOut: createSignOut({ accessUrl, relyingParty, sessions }),
      handleAccessHost,
      observe: metrics.observeRequest,
      observeCut: metrics.observeCutDelay,
      countAlert: metrics.countAlert,
      startTrace: tracing.startTrace,
      findSecret: (id) => configuration.secrets.get(id)?.reveal(),
    }
    const forwarding = createForwarding({
      log,
      monotonicNow,
      cookies,
      accessUrl,
      limits: configuration.limits,
      forbiddenAddresses: findForbidden(configuration),
      mayConnect: findReach(configuration),
    })
    closers.push(() => forwarding.close())
    const listener = createListener({
      settings: {
        accessUrl,
        trustedProxies: configuration.trustedProxies,
        limits: configuration.limits,
        hstsSeconds: configuration.hstsSeconds,
        session: configuration.session,
        recording: { ...configuration.audit, groupClaims: configuration.provider.claims.groups },
        storeGraceSeconds: configuration.session.storeGraceSeconds,
        unverifiedForSeconds: configuration.session.unverifiedForSeconds,
      },
      listen: configuration.listen,
      tls: configuration.tls,
      httpRedirect: configuration.httpRedirect,
      clientCertificates:
        certificates !== undefined && configuration.clientCertificate?.from === 'listener'
          ? { authorities: certificates.authorities, asked: askedConnections }
          : undefined,
      snapshot: policy.current,
      ports,
      forwarding,
    })

    const operations = await startOperations(configuration.operations, {
      checkReadiness,
      findWarnings,
      metricsText: async () => ({ type: metrics.contentType, text: await metrics.text() }),
    })
    closers.push(() => operations.close())

    const address = await listener.listen()
    await settleProvider(relyingParty)
    record({ event: 'instance.started', version })
    log.info({ url: accessUrl.origin, listen: `${address.address}:${address.port}`, policy: policy.current().version, version }, 'ready')

    return {
      address,
      reload: () => {
        certificates?.reload()
        listener.reloadCertificates()
        return policy.reload()
      },
      halt: async () => {
        record({ event: 'instance.stopped', version })
        await audit.close()
      },
      stop: async (drainMs) => {
        isStopping = true
        console.endStreams()
        const startedAt = monotonicNow()
        await listener.close(drainMs)
        const isClean = monotonicNow() - startedAt < drainMs
        record({ event: 'instance.stopped', version })
        await closeAll()
        return isClean
      },
    }
  } catch (error) {
    await closeAll()
    throw error
  }
}

/**
 * Waits until the provider was discovered, so that `ready` in the log means what `/readyz` says. A provider that is down does not keep
 * an instance from starting: requests are refused meanwhile with a reason, and `/readyz` goes on saying so.
 */
async function settleProvider({ isReady }: Pick<RelyingParty, 'isReady'>): Promise<void> {
  const until = monotonicNow() + providerPatienceMs
  while (!isReady() && monotonicNow() < until) await delay(20)
}

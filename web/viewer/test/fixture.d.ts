// The fixture log of tests/browser, as the tests here use it.
declare module '*/fixture_log.mjs' {
  import type { KeyObject } from 'node:crypto';
  export class Tree {
    leaves: Buffer[];
    root(from: number, to: number): Buffer;
    inclusion(index: number, from: number, to: number): Buffer[];
    consistency(m: number, from: number, to: number): Buffer[];
  }
  export interface FixtureRecord { seq: number; kind: string; payload: Buffer; salt: Buffer; peer: Buffer; entry: Buffer; timeNs: bigint; source: number }
  export class FixtureLog {
    tree: Tree;
    records: FixtureRecord[];
    checkpoints: any[];
    anchors: any[];
    logId: Buffer;
    vkey: string;
    origin: string;
    ak: { publicKey: KeyObject; privateKey: KeyObject };
    append(kind: string, payload: Buffer, options?: Record<string, unknown>): FixtureRecord;
    checkpoint(anchor?: boolean): any;
    provisioning(): any;
  }
  export function mappedPeer(a: number, b: number, c: number, d: number, port: number): Buffer;
  export function sha256(...parts: (string | Buffer | Uint8Array)[]): Buffer;
  export function iso(ns: bigint): string;
}

// OpenPGP.js as a peer of the tests: one line of JSON asks, one answers. Octets travel as base64.
// usage: node peer.mjs FOLDER   (where node_modules is, with OpenPGP.js 6 and 5)

import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';

const require = createRequire(`${process.argv[2]}/`);
const LIBRARIES = { 6: require('openpgp'), 5: require('openpgp-5') };

const octets = text => new Uint8Array(Buffer.from(text, 'base64'));
const text = data => Buffer.from(data).toString('base64');
const isArmored = data => data.length === 0 || data[0] < 128;

class Peer {
  constructor(request) {
    this.lib = LIBRARIES[request.library];
    this.request = request;
    this.config = { ...(request.config || {}) };
  }

  privateKeys(armored) {
    return Promise.all((armored || []).map(armoredKey => this.lib.readPrivateKey({ armoredKey })));
  }

  publicKeys(armored) {
    return Promise.all((armored || []).map(armoredKey => this.lib.readKey({ armoredKey })));
  }

  async message(data) {
    return isArmored(data)
      ? this.lib.readMessage({ armoredMessage: Buffer.from(data).toString(), config: this.config })
      : this.lib.readMessage({ binaryMessage: data, config: this.config });
  }

  async generate({ options }) {
    const made = await this.lib.generateKey({ ...options, format: 'armored', config: this.config });
    return { secret: made.privateKey, certificate: made.publicKey };
  }

  async encrypt({ data, recipients, signers, passwords, hidden }) {
    return this.lib.encrypt({
      message: await this.lib.createMessage({ binary: octets(data) }),
      encryptionKeys: await this.publicKeys(recipients),
      signingKeys: await this.privateKeys(signers),
      passwords,
      wildcard: Boolean(hidden),
      config: this.config,
    });
  }

  async decrypt({ message, keys, verifiers, passwords }) {
    const opened = await this.lib.decrypt({
      message: await this.message(octets(message)),
      decryptionKeys: keys && await this.privateKeys(keys),
      verificationKeys: await this.publicKeys(verifiers),
      passwords,
      format: 'binary',
      config: this.config,
    });
    return { data: text(opened.data), signatures: await outcomes(opened.signatures) };
  }

  async sign({ data, signers, form }) {
    const signingKeys = await this.privateKeys(signers);
    const plain = Buffer.from(octets(data)).toString();
    const message = form === 'cleartext'
      ? await this.lib.createCleartextMessage({ text: plain })
      : await this.lib.createMessage(form === 'text' ? { text: plain } : { binary: octets(data) });
    const detached = form === 'detached' || form === 'text';
    return this.lib.sign({ message, signingKeys, detached, config: this.config });
  }

  async verify({ data, signature, cleartext, verifiers }) {
    const verificationKeys = await this.publicKeys(verifiers);
    const message = cleartext
      ? await this.lib.readCleartextMessage({ cleartextMessage: cleartext })
      : await this.lib.createMessage({ binary: octets(data) });
    const detached = cleartext
      ? {} : { signature: await this.lib.readSignature({ armoredSignature: signature }) };
    const checked = await this.lib.verify({ message, ...detached, verificationKeys, config: this.config });
    return outcomes(checked.signatures);
  }
}

function outcomes(signatures) {
  return Promise.all(signatures.map(async ({ verified }) => {
    try {
      await verified;
      return 'good';
    } catch (error) {
      return error.message;
    }
  }));
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const request = JSON.parse(line);
    answer = { result: await new Peer(request)[request.ask](request) };
  } catch (error) {
    answer = { error: error.message };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

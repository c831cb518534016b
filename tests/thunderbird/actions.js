// What a person does in Thunderbird, by the same interfaces that its windows use. Each function is called by name.

const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const { setTimeout } = ChromeUtils.importESModule("resource://gre/modules/Timer.sys.mjs");

// -- set-up ----------------------------------------------------------------------------------------------------------

// Asks for the configuration by the domain, as the account wizard does, and makes the account of it.
async function setUp(name, address, password) {
  const load = module => ChromeUtils.importESModule(`resource:///modules/accountcreation/${module}.sys.mjs`);
  const { FetchConfig } = load("FetchConfig");
  const { AccountConfig } = load("AccountConfig");
  const { CreateInBackend } = load("CreateInBackend");
  const { ConfigVerifier } = load("ConfigVerifier");
  const signal = new AbortController().signal;
  await until(() => Services.wm.getMostRecentWindow("mail:3pane")?.msgWindow);
  const found = await FetchConfig.fromDB(address.split("@")[1], signal);
  AccountConfig.replaceVariables(found, name, address, password);
  found.incoming.password = found.outgoing.password = password;
  found.rememberPassword = true;
  const verifier = new ConfigVerifier(msgWindow(), signal);
  const config = (await verifier.verifyConfig(found)) || found;
  const account = await CreateInBackend.createAccountInBackend(config);
  account.incomingServer.doBiff = false; // no looking every few minutes: what arrives is told by IDLE
  const server = s => ({ host: s.hostname, port: s.port, socketType: s.socketType, auth: s.auth, user: s.username });
  return { source: config.subSource, incoming: server(config.incoming), outgoing: server(config.outgoing) };
}

async function configurationFor(domain) {
  const { FetchConfig } = ChromeUtils.importESModule(
    "resource:///modules/accountcreation/FetchConfig.sys.mjs"
  );
  try {
    await FetchConfig.fromDB(domain, new AbortController().signal);
    return "found";
  } catch (error) {
    return String(error);
  }
}

// -- folders ---------------------------------------------------------------------------------------------------------

function folderOf(address, path) {
  const server = MailServices.accounts.allServers.find(s => s.type == "imap" && s.username == address);
  return path.split("/").reduce((folder, name) => folder.getChildNamed(name), server.rootFolder);
}

function folders(address) {
  return folderOf(address, "INBOX").server.rootFolder.descendants.map(folder => folder.name);
}

async function synchronise(address, path) {
  const folder = folderOf(address, path).QueryInterface(Ci.nsIMsgImapMailFolder);
  await urlDone(listener => folder.updateFolderWithListener(msgWindow(), listener));
}

async function makeFolder(address, name) {
  const root = folderOf(address, "INBOX").server.rootFolder;
  root.createSubfolder(name, msgWindow());
  await until(() => root.containsChildNamed(name));
}

function headers(address, path) {
  return [...folderOf(address, path).messages].map(header => ({
    uid: header.messageKey,
    subject: header.mime2DecodedSubject,
    read: header.isRead,
    flagged: header.isFlagged,
    keywords: header.getStringProperty("keywords"),
    offline: Boolean(header.flags & Ci.nsMsgMessageFlags.Offline),
  }));
}

// -- messages --------------------------------------------------------------------------------------------------------

async function downloadAll(address, path) {
  const folder = folderOf(address, path);
  folder.setFlag(Ci.nsMsgFolderFlags.Offline);
  await urlDone(listener => folder.downloadAllForOffline(listener, msgWindow()));
}

// What Thunderbird gives of a message, one character an octet; lines of its own may stand on top.
async function source(address, path, subject) {
  const folder = folderOf(address, path);
  const uri = folder.getUriForMsg(find(folder, subject));
  const service = MailServices.messageServiceFromURI(uri);
  return new Promise((resolve, reject) => {
    const collector = {
      text: "",
      onStartRequest() {},
      onDataAvailable(request, stream, offset, count) {
        const binary = Cc["@mozilla.org/binaryinputstream;1"].createInstance(Ci.nsIBinaryInputStream);
        binary.setInputStream(stream);
        this.text += binary.readBytes(count);
      },
      onStopRequest(request, status) {
        Components.isSuccessCode(status) ? resolve(this.text) : reject(new Error(`status ${status}`));
      },
      QueryInterface: ChromeUtils.generateQI(["nsIStreamListener", "nsIRequestObserver"]),
    };
    service.streamMessage(uri, collector, null, null, false, "", false);
  });
}

function markRead(address, path, subject, read) {
  const folder = folderOf(address, path);
  folder.markMessagesRead([find(folder, subject)], read);
}

function flag(address, path, subject) {
  const folder = folderOf(address, path);
  folder.markMessagesFlagged([find(folder, subject)], true);
}

function tag(address, path, subject, keyword) {
  const folder = folderOf(address, path);
  folder.addKeywordsToMessages([find(folder, subject)], keyword);
}

// Without the possibility to undo, it is told to the server at once; with it (see remove) half a second later, and then
// what comes while that goes on may wait for the next change.
async function transfer(address, from, subject, to, isMove) {
  const source = folderOf(address, from);
  const target = folderOf(address, to);
  await copyDone(listener =>
    MailServices.copy.copyMessages(source, [find(source, subject)], target, isMove, listener, msgWindow(), false)
  );
}

async function remove(address, path, subject, forGood) {
  const folder = folderOf(address, path);
  await copyDone(listener =>
    folder.deleteMessages([find(folder, subject)], msgWindow(), forGood, false, listener, !forGood)
  );
}

// What is marked as deleted goes.
async function compact(address, path) {
  await urlDone(listener => folderOf(address, path).compact(listener, msgWindow()));
}

// -- writing ---------------------------------------------------------------------------------------------------------

// Writes a mail in a composer window and sends it with the button's command; ends when the window is closed.
async function compose(from, to, subject, text) {
  const identity = MailServices.accounts.allIdentities.find(i => i.email == from);
  const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
  fields.to = to;
  fields.subject = subject;
  fields.body = text;
  const params = Cc["@mozilla.org/messengercompose/composeparams;1"].createInstance(Ci.nsIMsgComposeParams);
  params.composeFields = fields;
  params.identity = identity;
  params.format = Ci.nsIMsgCompFormat.PlainText;
  MailServices.compose.OpenComposeWindowWithParams(null, params);
  const composer = () => Services.wm.getMostRecentWindow("msgcompose");
  await until(() => composer()?.document.readyState == "complete" && composer().gMsgCompose?.editor);
  const window = composer();
  await until(() => !window.gWindowLocked && window.document.getElementById("button-send")?.disabled === false);
  window.goDoCommand("cmd_sendNow");
  await until(() => window.closed);
}

// -- waiting ---------------------------------------------------------------------------------------------------------

function msgWindow() {
  return Services.wm.getMostRecentWindow("mail:3pane").msgWindow;
}

function find(folder, subject) {
  const header = [...folder.messages].find(h => h.mime2DecodedSubject == subject);
  if (!header) {
    throw new Error(`there is no ${subject} in ${folder.name}`);
  }
  return header;
}

async function until(condition) {
  while (!condition()) {
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}

function urlDone(begin) {
  return new Promise((resolve, reject) => {
    const listener = {
      OnStartRunningUrl() {},
      OnStopRunningUrl(url, status) {
        Components.isSuccessCode(status) ? resolve() : reject(new Error(`${url?.spec}: status ${status}`));
      },
      QueryInterface: ChromeUtils.generateQI(["nsIUrlListener"]),
    };
    listener.onStartRunningUrl = listener.OnStartRunningUrl;
    listener.onStopRunningUrl = listener.OnStopRunningUrl;
    begin(listener);
  });
}

function copyDone(begin) {
  return new Promise((resolve, reject) => {
    const stop = status => (Components.isSuccessCode(status) ? resolve() : reject(new Error(`status ${status}`)));
    begin({
      onStartCopy() {},
      onProgress() {},
      setMessageKey() {},
      getMessageId: () => null,
      onStopCopy: stop,
      QueryInterface: ChromeUtils.generateQI(["nsIMsgCopyServiceListener"]),
    });
  });
}

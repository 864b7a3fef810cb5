//! One client at work: what it may do, what it has queued, and which database it talks to.
//!
//! Both doors speak to a session and to nothing below it. It checks each command in the order Redis does (known, arguments,
//! authenticated, permitted, allowed right now), queues after `MULTI`, and runs the few commands that are about the session
//! itself. It never waits: what has to be waited for comes back as a [`Step`].

use std::sync::Arc;
use std::time::Duration;

use dormouse_engine::{
    Client, ClientId, Command, DEFAULT, Door, Found, Grant, Group, Hub, Keyspace, Moment, Queued, Run,
    Session as Special, Ticket, Transaction, Waiting, Watchdog, by_name, find, monitor_line, redacted,
};
use dormouse_proto::{Args, Blob, CommandError, Reply};
use dormouse_storage::Lsn;

use crate::database::{Outbox, refused};
use crate::once::{Once, Repeat};
use crate::service::{Account, Service};
use crate::work::{LongJob, Ran, Unparked, Work};

/// What a door does next for a client.
#[derive(Debug)]
pub enum Step {
    /// Show this reply once `after` is durable.
    Reply {
        /// The reply.
        reply: Reply,
        /// What it depends on.
        after: Lsn,
    },
    /// The command waits for a key: its answer comes through the outbox, or not in time.
    Parked {
        /// Names it, for [`Session::unpark`].
        ticket: Ticket,
        /// When to give up, in milliseconds from now; `None` is never.
        timeout_ms: Option<u64>,
    },
    /// A long script holds the database: try the same command again soon.
    Busy,
    /// Run this on a thread that may block, then hand it to [`Session::resume`].
    Long(Box<LongJob>),
    /// It was sent before, and has not been run again.
    Repeat(Repeat),
    /// Commands are to wait for a while: try the same one again soon.
    Paused,
}

impl Step {
    fn now(reply: impl Into<Reply>) -> Self {
        Self::Reply { reply: reply.into(), after: Lsn(0) }
    }
}

/// The row that a request means, whatever is wrong with its arguments.
fn find_row(args: Args<'_>) -> Option<&'static Command> {
    let row = by_name(args.first()?)?;
    let inner = args
        .get(1)
        .and_then(|name| row.subcommands.iter().find(|inner| name.eq_ignore_ascii_case(inner.name.as_bytes())));
    Some(inner.unwrap_or(row))
}

fn exec_row() -> &'static Command {
    by_name(b"EXEC").expect("the table has EXEC")
}

/// See the module's text.
pub struct Session {
    service: Arc<Service>,
    account: Option<Account>,
    /// The client's own state.
    pub client: Client,
    outbox: Option<Arc<dyn Outbox>>,
    /// Whether the database knows the client. Others do; an HTTP request that may wait does once it has to.
    joins: bool,
    joined: bool,
    /// Whether it has a database without authenticating.
    is_open: bool,
    /// Set for a request that must not run twice.
    pub once: Option<Arc<Once>>,
}

impl Session {
    /// A connection that has not authenticated yet.
    pub fn connection(service: &Arc<Service>, client: Client, outbox: Arc<dyn Outbox>) -> Self {
        let service = Arc::clone(service);
        let outbox = Some(outbox);
        Self { service, account: None, client, outbox, joins: true, joined: false, is_open: false, once: None }
    }

    /// One HTTP request, already authenticated. With an outbox it can subscribe.
    pub fn request(service: &Arc<Service>, account: Account, outbox: Option<Arc<dyn Outbox>>) -> Self {
        let client = Client::new(service.next_client(), Door::Rest, account.grant);
        let joins = outbox.is_some();
        let service = Arc::clone(service);
        let mut session =
            Self { service, account: None, client, outbox, joins, joined: false, is_open: false, once: None };
        session.enter(account);
        session
    }

    /// One HTTP request whose command may wait: its answer comes through the outbox then.
    pub fn waiting_request(service: &Arc<Service>, account: Account, outbox: Arc<dyn Outbox>) -> Self {
        let mut session = Self::request(service, account, None);
        session.client.waiting = Waiting::Parks;
        session.outbox = Some(outbox);
        session
    }

    /// Lets a connection in that nobody has to open: as the first user, and again whenever it is reset.
    pub fn enter_freely(&mut self) {
        self.is_open = true;
        self.enter(self.service.default_account());
    }

    /// A reset connection is let in as it was when it came.
    fn come_anew(&mut self) {
        if self.is_open {
            self.enter(self.service.default_account());
            return;
        }
        self.exit();
        let fresh = Client::new(self.client.id, self.client.door, Grant::Full);
        (self.client.grant, self.client.user) = (fresh.grant, fresh.user);
    }

    /// Gives the session a database. Who only becomes another user of the one there is keeps what it holds.
    pub fn enter(&mut self, account: Account) {
        let stays = self.account.as_ref().is_some_and(|old| Arc::ptr_eq(&old.database, &account.database));
        if !stays {
            self.exit();
        }
        self.client.grant = account.grant;
        self.client.user = account.user();
        if stays {
            if self.joined {
                account.database.refresh(&self.client);
            }
            self.account = Some(account);
            return;
        }
        self.account = Some(account);
        if self.joins {
            self.join();
        }
    }

    /// Makes the client known to its database, so that what comes out of band finds it.
    fn join(&mut self) {
        if let (Some(outbox), Some(account), false) = (&self.outbox, &self.account, self.joined) {
            account.database.join(&self.client, Arc::clone(outbox));
            self.joined = true;
        }
    }

    /// Whether it has a database.
    pub const fn is_authenticated(&self) -> bool {
        self.account.is_some()
    }

    /// Lets go of the database and everything held there.
    fn exit(&mut self) {
        let Some(account) = self.account.take() else { return };
        if std::mem::take(&mut self.joined) || !self.client.watching.is_empty() {
            account.database.leave(&self.client);
        }
        self.client.monitoring = false;
        self.client.channels.clear();
        self.client.patterns.clear();
        self.client.shard_channels.clear();
        self.client.tracking = None;
        self.client.watching.clear();
        self.client.transaction = None;
    }

    /// Handles one command.
    pub fn command(&mut self, args: Args<'_>, moment: Moment, leash: &dyn Watchdog) -> Step {
        self.client.active_ms = moment.now_ms();
        let known = find(args);
        if let Ok(found) = &known {
            self.client.last_command = Some(found.command);
        }
        let checked = known.and_then(|found| self.check(&found, args).map(|()| found));
        let found = match checked {
            Ok(found) => found,
            Err(error) if args.first().is_some_and(|name| name.eq_ignore_ascii_case(b"EXEC")) => {
                self.count_rejected(args, &error);
                return Step::now(self.abort_exec(&error));
            }
            Err(error) => {
                self.count_rejected(args, &error);
                if let Some(transaction) = &mut self.client.transaction {
                    transaction.broken = true;
                }
                return Step::now(error);
            }
        };
        if self.client.transaction.is_some() && !found.command.is_not_queued() {
            return self.queue(&found, args);
        }
        let step = match found.command.run {
            Run::Session(special) => {
                self.show(&found, args, moment);
                let step = self.special(special, args, moment, leash);
                if let (Some(account), Step::Reply { reply, .. }, false) =
                    (&self.account, &step, special == Special::Exec)
                {
                    let error = if let Reply::Error(error) = reply { Some(error.clone()) } else { None };
                    account.database.note_ran(found.command, error);
                }
                step
            }
            Run::Handler(_) | Run::Container => self.run(&found, args, moment, leash),
        };
        if std::mem::take(&mut self.client.resetting) {
            self.come_anew();
        }
        // `CLIENT CACHING` is about one command or transaction, and more of `CLIENT` may come in between.
        let about_clients = found.container.is_some_and(|container| container.group == Group::Connection);
        if !about_clients && !matches!(step, Step::Busy | Step::Paused | Step::Long(_)) {
            self.end_caching();
        }
        step
    }

    /// What `CLIENT CACHING` said has been heeded.
    fn end_caching(&mut self) {
        if let (Some(tracking), None) = (&mut self.client.tracking, &self.client.transaction) {
            tracking.caching = false;
        }
    }

    /// Shows a command that runs here to clients that see every one, without its passwords. `EXEC` is shown behind its queue.
    fn show(&self, found: &Found, args: Args<'_>, moment: Moment) {
        let Some(account) = self.account.as_ref().filter(|_| !found.command.is_admin()) else { return };
        if matches!(found.command.run, Run::Session(Special::Exec)) {
            return;
        }
        let args: Vec<Blob> = redacted(found.command, args).into_iter().map(Blob::from).collect();
        let client = self.client.clone();
        account.database.show(move || {
            let args: Vec<&[u8]> = args.iter().map(Blob::as_slice).collect();
            monitor_line(moment, &client, &args)
        });
    }

    /// Shows an `EXEC` that runs nothing.
    fn show_exec(&self, moment: Moment) {
        let Some(account) = &self.account else { return };
        let client = self.client.clone();
        account.database.show(move || monitor_line(moment, &client, &[&client.exec_word]));
    }

    /// Counts a command that may not run, for `INFO`.
    fn count_rejected(&self, args: Args<'_>, error: &CommandError) {
        let Some(account) = &self.account else { return };
        let command = match error {
            CommandError::UnknownCommand { .. } | CommandError::UnknownSubcommand { .. } => None,
            _ => find_row(args),
        };
        account.database.note_rejected(command, error);
    }

    /// Whether a command may run here and now.
    fn check(&mut self, found: &Found, args: Args<'_>) -> Result<(), CommandError> {
        let Found { command, container } = *found;
        let name = || command.full_name(container);
        if self.account.is_none() && !command.is_no_auth() {
            return Err(CommandError::NoAuth);
        }
        let waits = || command.must_block() && self.client.waiting == Waiting::Refused;
        if self.client.door == Door::Rest && (command.is_no_rest() || waits()) {
            return Err(CommandError::NotOverRest(name()));
        }
        if self.client.grant != Grant::Full {
            self.check_grant(command, args)?;
        }
        if self.client.is_subscriber_only() && !command.is_while_subscribed() {
            return Err(CommandError::from(format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
                name()
            )));
        }
        if let Some(error) = self.account.as_ref().and_then(|account| account.database.refusal(command)) {
            return Err(error);
        }
        if self.client.transaction.is_some() && command.is_no_multi() && !command.is_not_queued() {
            return Err(CommandError::text("ERR Command not allowed inside a transaction"));
        }
        Ok(())
    }

    /// What a client may do who may not do everything. The user may change before the command runs, so that it is checked
    /// once more then; here it is for what is queued, or about the session itself.
    fn check_grant(&mut self, command: &'static Command, args: Args<'_>) -> Result<(), CommandError> {
        let Some(account) = &self.account else { return Ok(()) };
        let users = account.database.users();
        if let Grant::User(id) = self.client.grant
            && users.of(id).is_none()
        {
            self.client.closing = true;
            return Err(CommandError::NoAuth);
        }
        users.check(self.client.grant, command, args).map_err(|denial| {
            account.database.note_denial(&denial, command, &self.client);
            refused(&denial, command, &self.client)
        })
    }

    fn queue(&mut self, found: &Found, args: Args<'_>) -> Step {
        let limit = self.service.limits().transaction_bytes_max;
        let busy = self.busy_past_limit(self.client.active_ms);
        let Some(transaction) = &mut self.client.transaction else { return Step::now(Reply::status("QUEUED")) };
        if let Some(busy) = busy {
            transaction.broken = true;
            return Step::now(busy);
        }
        transaction.bytes += args.iter().map(|arg| arg.len() + 32).sum::<usize>();
        if transaction.bytes > limit {
            transaction.broken = true;
            transaction.queue.clear();
            return Step::now(CommandError::RequestTooLarge(limit));
        }
        let args = args.iter().map(|arg| Blob::from(*arg)).collect();
        transaction.queue.push(Queued { command: found.command, args });
        Step::now(Reply::status("QUEUED"))
    }

    fn run(&mut self, found: &Found, args: Args<'_>, moment: Moment, leash: &dyn Watchdog) -> Step {
        if found.command.may_block() && self.client.waiting == Waiting::Parks {
            // Before it parks: its answer could come at once.
            self.join();
        }
        let Some(account) = &self.account else {
            // Before AUTH only commands about the connection itself get here, and they need no keys.
            return self.run_detached(found, args, moment);
        };
        let database = Arc::clone(&account.database);
        let work = Work::One(found.command, args);
        let ran = database.run_once(&mut self.client, work, self.once.as_ref(), moment, leash);
        if matches!(ran, Ran::Busy) && found.command.is_while_busy() {
            let before = self.client.clone();
            let (mut space, mut hub) = database.beside();
            let step = self.run_beside(&mut space, &mut hub, found, args, moment);
            database.catch_up_with(before, &mut self.client);
            return step;
        }
        let listed = self.client.monitoring
            || matches!(found.command.group, Group::Connection | Group::PubSub | Group::Transactions);
        if listed && self.joined && !matches!(ran, Ran::Busy) {
            database.refresh(&self.client);
        }
        Self::step(ran)
    }

    /// `QUIT`, `RESET` and kin of a connection without a database, or while a long script holds it.
    fn run_detached(&mut self, found: &Found, args: Args<'_>, moment: Moment) -> Step {
        let (mut space, mut hub) = (Keyspace::default(), Hub::default());
        self.run_beside(&mut space, &mut hub, found, args, moment)
    }

    fn run_beside(
        &mut self,
        space: &mut Keyspace,
        hub: &mut Hub,
        found: &Found,
        args: Args<'_>,
        moment: Moment,
    ) -> Step {
        let parts = dormouse_engine::Parts {
            space,
            source: &dormouse_engine::Nothing,
            hub,
            client: &mut self.client,
            watchdog: &dormouse_engine::Patient,
            moment,
            seq: 1,
        };
        match dormouse_engine::Txn::begin(parts, false).run(found.command, args) {
            Ok(reply) => Step::now(reply),
            Err(dormouse_engine::Stop::Error(error)) => Step::now(error),
            Err(_) => Step::now(CommandError::NoAuth),
        }
    }

    fn step(ran: Ran) -> Step {
        match ran {
            Ran::Done { reply, after } => Step::Reply { reply, after },
            Ran::Parked { ticket, timeout_ms } => Step::Parked { ticket, timeout_ms },
            Ran::Busy => Step::Busy,
            Ran::Long(job) => Step::Long(job),
            Ran::Repeat(repeat) => Step::Repeat(repeat),
            Ran::Paused => Step::Paused,
        }
    }

    /// Runs a long job, on a thread that may block. `limit` ends it when its time is up.
    pub fn run_long(
        account: &Account,
        mut job: Box<LongJob>,
        moment: Moment,
        limit: &dyn Watchdog,
    ) -> (Box<LongJob>, Ran) {
        let ran = account.database.run_long(&mut job, moment, limit);
        (job, ran)
    }

    /// Takes the outcome of a long job back.
    pub fn resume(&mut self, job: Box<LongJob>, ran: Ran) -> Step {
        let was_transaction = job.is_transaction();
        let LongJob { queue, all, client, .. } = *job;
        self.client = client;
        if matches!(ran, Ran::Busy | Ran::Paused) {
            // Nothing ran: the same command will be tried again.
            if all == Some(true) {
                self.client.transaction = Some(Transaction { queue, ..Transaction::default() });
            }
            return Self::step(ran);
        }
        self.end_caching();
        if was_transaction {
            self.end_watches();
        }
        Self::step(ran)
    }

    /// What the session talks to, for [`Self::run_long`] and to wait for the end of someone else's.
    pub const fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// A parked command gives up.
    pub fn unpark(&self, ticket: Ticket) -> Unparked {
        self.account.as_ref().map_or(Unparked::Answered, |account| account.database.unpark(ticket))
    }

    /// A parked command's client has gone.
    pub fn abandon(&self, ticket: Ticket) {
        if let Some(account) = &self.account {
            account.database.abandon(ticket);
        }
    }

    /// Runs several commands as one transaction, or none of them.
    pub fn transaction<'a>(
        &mut self,
        commands: impl Iterator<Item = Args<'a>>,
        moment: Moment,
        leash: &dyn Watchdog,
    ) -> Result<Step, CommandError> {
        let queue = commands.map(|args| self.part(args)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.together(&queue, moment, leash))
    }

    /// One command of several that will run together; an error if it may not be among them.
    pub fn part(&mut self, args: Args<'_>) -> Result<Queued, CommandError> {
        let found = find(args)?;
        self.check(&found, args)?;
        let command = found.command;
        if command.is_not_queued() || command.is_no_multi() || matches!(command.run, Run::Session(_)) {
            return Err(CommandError::from(format!(
                "ERR command '{}' is not allowed in a transaction over REST",
                command.full_name(found.container)
            )));
        }
        Ok(Queued { command, args: args.iter().map(|arg| Blob::from(*arg)).collect() })
    }

    /// Runs several commands as one.
    pub fn together(&mut self, queue: &[Queued], moment: Moment, leash: &dyn Watchdog) -> Step {
        let Some(account) = &self.account else { return Step::now(CommandError::NoAuth) };
        let database = Arc::clone(&account.database);
        let work = Work::All { queue, watching: false };
        Self::step(database.run_once(&mut self.client, work, self.once.as_ref(), moment, leash))
    }

    /// Why a client need not wait, if a script has held its database for too long already.
    fn busy_past_limit(&self, now_ms: u64) -> Option<CommandError> {
        let database = &self.account.as_ref()?.database;
        database.is_busy_past_limit(now_ms).then(|| database.busy_error())
    }

    /// Whether a busy database has kept clients waiting for too long: `waited`, or since its script began.
    pub fn is_kept_too_long(&self, waited: Duration, moment: Moment) -> bool {
        let Some(Account { database, .. }) = &self.account else { return true };
        waited >= database.busy_after() || database.is_busy_past_limit(moment.now_ms())
    }

    /// A busy database has kept a client waiting for too long.
    pub fn busy(&mut self) -> Reply {
        let busy = self.account.as_ref().map_or(CommandError::Busy, |account| account.database.busy_error());
        if self.client.last_command.is_some_and(|command| command.name == "EXEC") {
            return self.abort_exec(&busy);
        }
        if let Some(transaction) = &mut self.client.transaction {
            transaction.broken = true;
        }
        busy.into()
    }

    // --- commands about the session itself -------------------------------------------------------------------------

    fn special(&mut self, special: Special, args: Args<'_>, moment: Moment, leash: &dyn Watchdog) -> Step {
        match special {
            Special::Auth => match self.authenticate("AUTH", &args[1..]) {
                Ok(after) => Step::Reply { reply: Reply::OK, after },
                Err(error) => Step::now(error),
            },
            Special::Hello => match self.hello(args, moment) {
                Ok((reply, after)) => Step::Reply { reply, after },
                Err(error) => Step::now(error),
            },
            Special::Exec => {
                self.client.exec_word = Blob::from(args[0]);
                self.exec(moment, leash)
            }
            Special::ScriptKill => match &self.account {
                Some(account) => Step::now(account.database.kill_script().map_or_else(Reply::from, |()| Reply::OK)),
                None => Step::now(CommandError::NoAuth),
            },
            Special::FunctionKill => match &self.account {
                Some(account) => Step::now(account.database.kill_function().map_or_else(Reply::from, |()| Reply::OK)),
                None => Step::now(CommandError::NoAuth),
            },
            Special::Unblock => self.unblock(args).unwrap_or_else(Step::now),
        }
    }

    /// `AUTH [user] password`: a token, or a user's password. Returns what the client's being let in depends on.
    fn authenticate(&mut self, command: &'static str, args: Args<'_>) -> Result<Lsn, CommandError> {
        let here = self.account.as_ref();
        let (user, found) = match args {
            [token] => {
                let aimed_at =
                    || here.map_or_else(|| self.service.default_account().database, |here| Arc::clone(&here.database));
                (DEFAULT.as_bytes(), self.service.authenticate(token)?.ok_or_else(aimed_at))
            }
            [user, password] => (*user, self.service.log_in(user, password, here)),
            _ => return Err(CommandError::Syntax),
        };
        let account = found.map_err(|database| {
            database.note_wrong_password(command, user, &self.client);
            CommandError::WrongPassword
        })?;
        let after = if account.grant.is_users() { account.database.users_after() } else { Lsn(0) };
        self.enter(account);
        Ok(after)
    }

    /// `HELLO [version [AUTH user password] [SETNAME name]]`.
    fn hello(&mut self, args: Args<'_>, moment: Moment) -> Result<(Reply, Lsn), CommandError> {
        let mut after = Lsn(0);
        let mut protocol = self.client.protocol;
        if let Some(version) = args.get(1) {
            protocol = match dormouse_proto::parse_integer(version) {
                Some(2) => 2,
                Some(3) => 3,
                Some(_) => return Err(CommandError::text("NOPROTO unsupported protocol version")),
                None => return Err(CommandError::text("ERR Protocol version is not an integer or out of range")),
            };
        }
        let mut rest = args.get(2..).unwrap_or_default();
        let (mut credentials, mut name) = (None, None);
        while let [word, ..] = rest {
            rest = match rest {
                [_, _, _, after @ ..] if word.eq_ignore_ascii_case(b"AUTH") => {
                    credentials = Some(&rest[1..3]);
                    after
                }
                [_, given, after @ ..] if word.eq_ignore_ascii_case(b"SETNAME") => {
                    name = Some(*given);
                    after
                }
                _ => {
                    let word = String::from_utf8_lossy(&word[..word.len().min(64)]).into_owned();
                    return Err(CommandError::from(format!("ERR Syntax error in HELLO option '{word}'")));
                }
            };
        }
        if let Some(credentials) = credentials {
            after = self.authenticate("HELLO", credentials)?;
        }
        if self.account.is_none() {
            return Err(CommandError::text(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
                 <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the \
                 same time",
            ));
        }
        if let Some(name) = name {
            let found = find(&[b"CLIENT", b"SETNAME", name])?;
            // About the client alone, so that it works while the database is busy; `refresh` follows.
            if let Step::Reply { reply: Reply::Error(error), .. } =
                self.run_detached(&found, &[b"CLIENT", b"SETNAME", name], moment)
            {
                return Err(error);
            }
        }
        self.client.protocol = protocol;
        if let Some(account) = &self.account {
            account.database.refresh(&self.client);
        }
        let text = |text: &str| Reply::bulk(text);
        let fields = vec![
            (text("server"), text("redis")),
            (text("version"), text(dormouse_engine::REDIS_VERSION)),
            (text("proto"), Reply::Integer(protocol.into())),
            (text("id"), Reply::Integer(self.client.id.0 as i64)),
            (text("mode"), text("standalone")),
            (text("role"), text("master")),
            (text("modules"), Reply::Array(Vec::new())),
        ];
        Ok((Reply::Map(fields), after))
    }

    fn exec(&mut self, moment: Moment, leash: &dyn Watchdog) -> Step {
        let Some(Transaction { queue, broken, .. }) = self.client.transaction.take() else {
            let error = CommandError::text("ERR EXEC without MULTI");
            if let Some(account) = &self.account {
                account.database.note_ran(exec_row(), Some(error.clone()));
            }
            self.show_exec(moment);
            return Step::now(error);
        };
        let Some(account) = &self.account else { return Step::now(CommandError::NoAuth) };
        let database = Arc::clone(&account.database);
        // What was queued when there was room may find none now.
        let refusal = queue.iter().find_map(|queued| database.refusal(queued.command));
        let step = if let Some(busy) = self.busy_past_limit(moment.now_ms()).filter(|_| broken) {
            return Step::now(self.abort_exec(&busy));
        } else if broken {
            self.show_exec(moment);
            database.note_ran(exec_row(), Some(CommandError::ExecAbort));
            Step::now(CommandError::ExecAbort)
        } else if let Some(error) = refusal {
            let reply = self.abort_exec(&error);
            if let Reply::Error(error) = &reply {
                database.note_rejected(Some(exec_row()), error);
            }
            return Step::now(reply);
        } else {
            let work = Work::All { queue: &queue, watching: true };
            let ran = database.run_once(&mut self.client, work, None, moment, leash);
            if matches!(ran, Ran::Busy | Ran::Paused) {
                // Nothing ran: the same EXEC will be tried again.
                self.client.transaction = Some(Transaction { queue, ..Transaction::default() });
                return Self::step(ran);
            }
            Self::step(ran)
        };
        // Watches count until the transaction has really run.
        if !matches!(step, Step::Long(_)) {
            self.end_watches();
        }
        step
    }

    /// An `EXEC` that may not run at all drops its transaction, as in Redis.
    fn abort_exec(&mut self, error: &CommandError) -> Reply {
        self.client.transaction = None;
        self.end_watches();
        let text = error.to_string();
        let cause = text.strip_prefix("ERR ").unwrap_or(&text);
        CommandError::from(format!("EXECABORT Transaction discarded because of: {cause}")).into()
    }

    /// A transaction has run, or never will: its watches end.
    fn end_watches(&mut self) {
        let Some(account) = &self.account else { return };
        let watching = std::mem::take(&mut self.client.watching);
        if !watching.is_empty() {
            account.database.unwatch(self.client.id, watching);
        }
        if self.joined {
            account.database.refresh(&self.client);
        }
    }

    /// `CLIENT UNBLOCK id [TIMEOUT | ERROR]`.
    fn unblock(&self, args: Args<'_>) -> Result<Step, CommandError> {
        let with_error = match &args[3..] {
            [] => false,
            [word] if word.eq_ignore_ascii_case(b"TIMEOUT") => false,
            [word] if word.eq_ignore_ascii_case(b"ERROR") => true,
            _ => return Err(CommandError::text("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
        };
        let id = dormouse_proto::parse_integer(args[2]).ok_or(CommandError::NotAnInteger)?;
        let account = self.account.as_ref().ok_or(CommandError::NoAuth)?;
        let unblocked = account.database.unblock(ClientId(id as u64), with_error);
        Ok(unblocked.map_or(Step::Busy, |done| Step::now(Reply::flag(done))))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.exit();
    }
}

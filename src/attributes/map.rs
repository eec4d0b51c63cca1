//! What the evaluator asks of every map that is not the library's own.

/// The methods of [`Val`](cel::common::value::Val) by which a type shows itself as a map: one that
/// can be indexed, searched, gone through and counted.
macro_rules! shows_a_map {
    () => {
        fn get_type(&self) -> &Type {
            Self::cel_type()
        }

        fn cel_type() -> &'static Type {
            &MAP_TYPE
        }

        fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
        where
            Self: 'v,
        {
            Some(self)
        }

        fn as_container(&self) -> Option<&dyn Container> {
            Some(self)
        }

        fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
        where
            Self: 'v,
        {
            Some(self)
        }

        fn as_sizer(&self) -> Option<&dyn Sizer> {
            Some(self)
        }

        fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
        where
            Self: 'v,
        {
            Box::new(self.clone())
        }
    };
}

pub(super) use shows_a_map;
